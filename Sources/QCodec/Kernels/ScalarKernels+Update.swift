extension ScalarKernels {
  /// d = √v̂ where v̂ > 0 and 1 elsewhere, in place: what first moments are divided by in the update domain.
  static func divisors(_ values: UnsafeMutablePointer<Float>, count: Int) {
    for i in 0..<count {
      let value = unsafe values[i]
      unsafe values[i] = value > 0 ? value.squareRoot() : 1
    }
  }

  /// u = x / d.
  static func divide(
    _ x: UnsafePointer<Float>, by divisors: UnsafePointer<Float>, count: Int, into u: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<count { unsafe u[i] = x[i] / divisors[i] }
  }

  /// value = (map[code] · scale) · d + 0, in place from the product in parentheses.
  static func multiply(_ values: UnsafeMutablePointer<Float>, by divisors: UnsafePointer<Float>, count: Int) {
    for i in 0..<count { unsafe values[i] = values[i] * divisors[i] + 0 }
  }

  /// Quotients beyond ±1 become ±1, in place.
  static func clamp(_ y: UnsafeMutablePointer<Float>, count: Int) {
    for i in 0..<count { unsafe y[i] = max(-1, min(1, y[i])) }
  }

  /// Whether no value is NaN or infinite.
  static func areFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
    var greatest: UInt32 = 0
    for i in 0..<count { greatest = unsafe max(greatest, values[i].bitPattern & 0x7FFF_FFFF) }
    return greatest < 0x7F80_0000
  }

  /// The nearest float32 whose low 8 mantissa bits are zero, ties to even: a scale of the update domain. It survives
  /// a product and a division, so that encoding what was decoded finds it again.
  static func rounded(scale: Float) -> Float {
    let bits = scale.bitPattern
    let magnitude = bits & 0x7FFF_FFFF
    let rounded = (magnitude + 0x7F + (magnitude >> 8 & 1)) & ~0xFF
    // +0 where nothing is left.
    return rounded == 0 ? 0 : Float(bitPattern: bits & 0x8000_0000 | rounded)
  }
}
