import QCodec

/// The bounds of the `log` map, computed anew: nothing here is shared with the encoder.
struct LogBound {
  private let isStochastic: Bool
  /// δ and the dtype's absolute term.
  private let relative: Double
  private let absolute: Double
  /// Ω, the largest finite value of the dtype.
  private let greatest: Double

  init(layout: TensorLayout) {
    isStochastic = layout.scheme.rounding == .stochastic
    (relative, absolute) =
      switch layout.dtype {
      case .bf16: (0x1p-8, 0x1p-133)
      case .f16: (0x1p-11, 0x1p-24)
      default: (0, 0)
      }
    greatest =
      switch layout.dtype {
      case .bf16: 0x1.FEp127
      case .f16: 65_504
      default: 0x1.FFFFFEp127
      }
  }

  /// e, the most patterns by which a value of the block moves.
  private func reach(_ ends: LogEnds) -> Int {
    let span = Double(ends.top - ends.base)
    let step = span / Double(ends.steps)
    return Int(min((isStochastic ? step + 1 : step / 2 + 0.5) + 0x1p-16, span))
  }

  /// The bound on |x − x̂| of the element of a code: the farther end of the patterns that may have taken it.
  func bound(_ ends: LogEnds, code: Int) -> Double {
    guard let pattern = ends.pattern(code: code), ends.base > 0 else { return 0 }
    if Double(ends.high) > greatest { return .infinity }
    let e = reach(ends)
    let value = Double(LogEnds.float(pattern))
    let above = Double(LogEnds.float(min(pattern + e, ends.top))) - value
    let below = value - Double(LogEnds.float(max(pattern - e, ends.base)))
    return (max(above, below) + relative * value + absolute) * (1 + 0x1p-40)
  }

  /// The largest |x − x̂| / x of a non-zero element of a block, which its ends alone tell.
  func relative(_ ends: LogEnds) -> Double { guarantees(ends, greatest: 0).relative }

  /// The guarantees of a block whose greatest code is `code`: the largest |x − x̂|, and the largest |x − x̂| / x of a
  /// non-zero element.
  func guarantees(_ ends: LogEnds, greatest code: Int) -> (absolute: Double, relative: Double) {
    guard ends.base > 0 else { return (0, 0) }
    // Beyond Ω the conversion to the dtype may overflow; no encoder writes such an end.
    if Double(ends.high) > greatest { return (.infinity, .infinity) }
    let e = reach(ends)
    // No element was beyond what may have come to the greatest code.
    let top = min((ends.pattern(code: code) ?? ends.base) + e, ends.top)
    let high = Double(LogEnds.float(top))
    let largest = high - Double(LogEnds.float(top - e))
    // Below 2^-126 a pattern weighs most at the least value, above at a power of two.
    let from = min(ends.base, 0x0080_0000)
    let value = Double(LogEnds.float(from))
    let ratio = (Double(LogEnds.float(from + e)) - value) / value
    return (
      (largest + relative * high + absolute) * (1 + 0x1p-40),
      (ratio + relative * (1 + ratio) + absolute / Double(ends.low.magnitude)) * (1 + 0x1p-40)
    )
  }
}
