/// The normative kernels, one element at a time: what every faster kernel must equal bit for bit.
///
/// They work on segments of a chunk, at most `segment` elements that lie in first-level cache, as float32 whatever the
/// tensor's dtype. Callers guarantee that every pointer has room for `count` elements; nothing here checks again.
enum ScalarKernels {
  /// Elements of a segment: a multiple of 32, so that segments begin on partial sum 0 (Spec/Stream.md, statistics).
  static let segment = 2048
}

extension ScalarKernels {
  /// Reads `count` elements of a dtype as float32; exact.
  static func load(_ source: UnsafeRawPointer, dtype: DType, count: Int, into x: UnsafeMutablePointer<Float>) {
    switch dtype {
    case .bf16:
      for i in 0..<count {
        let half = unsafe source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)
        unsafe x[i] = Float(bitPattern: UInt32(half) << 16)
      }
    case .f16:
      for i in 0..<count {
        unsafe x[i] = float(half: source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self))
      }
    default:
      unsafe UnsafeMutableRawPointer(x).copyMemory(from: source, byteCount: 4 * count)
    }
  }

  /// Rounds float32 values to a dtype in place, to nearest even, as storing and loading would.
  static func round(_ x: UnsafeMutablePointer<Float>, count: Int, to dtype: DType) {
    switch dtype {
    case .bf16: for i in 0..<count { unsafe x[i] = Float(bitPattern: UInt32(bfloat(x[i])) << 16) }
    case .f16: for i in 0..<count { unsafe x[i] = float(half: half(x[i])) }
    default: break
    }
  }

  /// Writes float32 values as `count` elements of a dtype, rounded to nearest even.
  static func store(_ x: UnsafePointer<Float>, count: Int, dtype: DType, into target: UnsafeMutableRawPointer) {
    switch dtype {
    case .bf16:
      for i in 0..<count { unsafe target.storeBytes(of: bfloat(x[i]), toByteOffset: 2 * i, as: UInt16.self) }
    case .f16:
      for i in 0..<count { unsafe target.storeBytes(of: half(x[i]), toByteOffset: 2 * i, as: UInt16.self) }
    default:
      unsafe target.copyMemory(from: x, byteCount: 4 * count)
    }
  }

  /// float32 to bfloat16, to nearest even; NaN stays NaN.
  @inline(__always)
  static func bfloat(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
  }

  /// float16 to float32, exact. The product with 2^112 puts the exponent right, subnormals included.
  @inline(__always)
  static func float(half: UInt16) -> Float {
    let sign = UInt32(half & 0x8000) << 16
    let magnitude = UInt32(half & 0x7FFF) << 13
    if magnitude >= 0x0F80_0000 { return Float(bitPattern: sign | magnitude | 0x7F80_0000) }
    return Float(bitPattern: sign | (Float(bitPattern: magnitude) * 0x1p112).bitPattern)
  }

  /// float32 to float16, to nearest even; NaN stays NaN.
  @inline(__always)
  static func half(_ value: Float) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: value.bitPattern >> 16 & 0x8000)
    let bits = value.bitPattern & 0x7FFF_FFFF
    if bits > 0x7F80_0000 { return sign | 0x7E00 }
    // 65,520 is half way between the largest float16 and 2^16.
    if bits >= 0x477F_F000 { return sign | 0x7C00 }
    if bits < 0x3880_0000 {
      // Below 2^-14 the sum with 1/2 rounds to a multiple of 2^-24, the float16 subnormal unit.
      return sign | UInt16(truncatingIfNeeded: (Float(bitPattern: bits) + 0.5).bitPattern - 0x3F00_0000)
    }
    let rounded = bits + 0xFFF + (bits >> 13 & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded - 0x3800_0000) >> 13)
  }
}
