import QCodec

/// Conversions of floating-point formats by plain arithmetic, apart from the codec's own.
package enum PlainFloat {
  /// The value of element `index` of a tensor's bytes, for f32, bf16 and f16.
  package static func value(_ bytes: [UInt8], _ index: Int, dtype: DType) -> Double {
    if dtype == .f32 { return Double(Float(bitPattern: integer(bytes, index * 4, 4, as: UInt32.self))) }
    let half = integer(bytes, index * 2, 2, as: UInt16.self)
    return dtype == .bf16 ? Double(Float(bitPattern: UInt32(half) << 16)) : value(half: half)
  }

  /// The little-endian integer of `size` bytes at `offset`.
  static func integer<Value: FixedWidthInteger>(
    _ bytes: [UInt8], _ offset: Int, _ size: Int, as type: Value.Type
  ) -> Value {
    var result: Value = 0
    for index in (0..<size).reversed() { result = result << 8 | Value(truncatingIfNeeded: bytes[offset + index]) }
    return result
  }

  /// A float16 by its fields: (−1)^s · 1.f · 2^(e − 15), or 0.f · 2^−14.
  static func value(half: UInt16) -> Double {
    let sign = half & 0x8000 == 0 ? 1.0 : -1.0
    let exponent = Int(half >> 10 & 31)
    let fraction = Double(half & 1023)
    switch exponent {
    case 0: return sign * fraction * 0x1p-24
    case 31: return fraction == 0 ? sign * .infinity : .nan
    default: return sign * (1024 + fraction) * power(of: exponent - 25)
    }
  }

  /// A float32 rounded to a tensor's dtype, to nearest even, as a float64.
  static func rounded(_ value: Float, to dtype: DType) -> Double {
    switch dtype {
    case .bf16: rounded(Double(value), digits: 8, leastExponent: -126, limit: 0x1p128)
    case .f16: rounded(Double(value), digits: 11, leastExponent: -14, limit: 0x1p16)
    default: Double(value)
    }
  }

  /// Rounds to a format of `digits` significant bits: to a multiple of the last one's weight.
  private static func rounded(_ value: Double, digits: Int, leastExponent: Int, limit: Double) -> Double {
    guard value.isFinite, value != 0 else { return value }
    let exponent = max(Int(value.exponent), leastExponent)
    let unit = power(of: exponent - digits + 1)
    let result = (value / unit).rounded(.toNearestOrEven) * unit
    return result.magnitude >= limit ? result * .infinity : result
  }

  private static func power(of exponent: Int) -> Double {
    Double(sign: .plus, exponent: exponent, significand: 1)
  }

  /// Any element as a number, for messages; complex ones by their real part; what has no numeric
  /// value gives its first byte.
  package static func number(_ bytes: [UInt8], _ index: Int, dtype: DType) -> Double {
    let size = max(1, dtype.bitWidth / 8)
    let at = index * size
    switch dtype {
    case .f32, .bf16, .f16: return value(bytes, index, dtype: dtype)
    case .f64, .c128: return Double(bitPattern: integer(bytes, at, 8, as: UInt64.self))
    case .c64: return Double(Float(bitPattern: integer(bytes, at, 4, as: UInt32.self)))
    case .i8, .i16, .i32, .i64:
      let pattern = integer(bytes, at, size, as: UInt64.self)
      let shift = UInt64(64 - size * 8)
      return Double(Int64(bitPattern: pattern << shift) >> shift)
    default: return Double(integer(bytes, at, size, as: UInt64.self))
    }
  }
}
