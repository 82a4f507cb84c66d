import QCodec

/// Narrow floats by plain means, for tests.
enum Narrow {
  /// Values as bytes of a dtype; for f16 they are first made to fit it.
  static func bytes(_ values: [Float], dtype: DType) throws -> [UInt8] {
    var result: [UInt8] = []
    for value in values {
      switch dtype {
      case .f32: append(value.bitPattern, to: &result)
      case .bf16: append(UInt16(value.bitPattern >> 16), to: &result)
      default: append(half(value), to: &result)
      }
    }
    return result
  }

  /// The values of bytes of a dtype.
  static func values(_ bytes: [UInt8], dtype: DType) -> [Double] {
    let size = dtype.bitWidth / 8
    return stride(from: 0, to: bytes.count, by: size).map { at in
      var bits: UInt32 = 0
      for index in (0..<size).reversed() { bits = bits << 8 | UInt32(bytes[at + index]) }
      switch dtype {
      case .f32: return Double(Float(bitPattern: bits))
      case .bf16: return Double(Float(bitPattern: bits << 16))
      default: return value(half: UInt16(bits))
      }
    }
  }

  private static func append<Value: FixedWidthInteger>(_ value: Value, to bytes: inout [UInt8]) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  /// A float16 by its fields.
  static func value(half: UInt16) -> Double {
    let (exponent, fraction) = (Int(half >> 10 & 31), Double(half & 1023))
    let magnitude =
      exponent == 0
      ? fraction * 0x1p-24 : (1 + fraction / 1024) * Double(sign: .plus, exponent: exponent - 15, significand: 1)
    return half & 0x8000 == 0 ? magnitude : -magnitude
  }

  /// A float32 cut down to float16, towards zero; what is too small becomes zero.
  private static func half(_ value: Float) -> UInt16 {
    let sign: UInt16 = value < 0 ? 0x8000 : 0
    guard value.magnitude >= 0x1p-24 else { return sign }
    let exponent = max(Int(value.exponent), -14)
    let fraction = UInt16(value.magnitude / Float(sign: .plus, exponent: exponent - 10, significand: 1))
    return sign | (exponent == -14 ? fraction : fraction - 1024 + UInt16(exponent + 15) << 10)
  }
}
