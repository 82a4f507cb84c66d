/// How far escaped elements may be off (Spec/ErrorBounds.md, *Escapes*).
enum EscapeBounds {
  /// Half a unit of the last of the bits that are kept, in patterns of float32; 0 where values are exact.
  static func reach(bits: Int, _ dtype: DType) -> UInt32 {
    dtype == .f32 && bits < 32 ? 1 << UInt32(31 - bits) : 0
  }

  /// Half a step: the largest |x − x̂| of a multiple of 2^e.
  static func absolute(exponent: Int) -> Double { Double(sign: .plus, exponent: exponent - 1, significand: 1) }

  /// The largest |x − x̂| of a value; zero stands for zero alone.
  static func absolute(_ pattern: UInt32, reach: UInt32) -> Double {
    let magnitude = pattern & 0x7FFF_FFFF
    guard reach > 0, magnitude > 0 else { return 0 }
    return value(magnitude + reach) - value(magnitude)
  }

  /// The largest |x − x̂| / |x|.
  static func relative(_ pattern: UInt32, reach: UInt32) -> Double {
    let magnitude = pattern & 0x7FFF_FFFF
    guard reach > 0, magnitude > 0 else { return 0 }
    let (below, at, above) = (value(magnitude - reach), value(magnitude), value(magnitude + reach))
    return max((at - below) / below, (above - at) / above) * CellRadii.factor
  }

  private static func value(_ pattern: UInt32) -> Double { Double(Float(bitPattern: pattern)) }
}

extension TensorStatistics {
  /// Takes in what the escapes of a chunk admit.
  mutating func bound(
    _ escapes: EscapeSection, of payload: UnsafeRawBufferPointer, layout: TensorLayout, divisors: [Float]
  ) {
    var (absolute, relative) = (guaranteedMaxAbsError, guaranteedMaxRelError)
    for run in escapes.runs {
      if let exponent = run.form.exponent {
        absolute = max(absolute, EscapeBounds.absolute(exponent: exponent))
        continue
      }
      let reach = EscapeBounds.reach(bits: run.form.bits, layout.dtype)
      guard reach > 0 else { continue }
      unsafe escapes.forEach(of: run.elements, from: payload) { element, pattern in
        let bound = EscapeBounds.absolute(pattern, reach: reach)
        absolute = max(absolute, bound)
        if layout.scheme.map == .log { relative = max(relative, EscapeBounds.relative(pattern, reach: reach)) }
        if !divisors.isEmpty { relative = max(relative, bound / Double(divisors[element]) * CellRadii.factor) }
      }
    }
    (guaranteedMaxAbsError, guaranteedMaxRelError) = (absolute, relative)
  }
}
