/// A block of the `log` map: codes evenly spaced in the bit pattern between its least and greatest non-zero value.
///
/// The pattern of a float is a piecewise linear logarithm of it, so equal steps are nearly equal ratios: the relative
/// error of every element is bounded by the block's two ends alone (Spec/ErrorBounds.md, *The log map*).
package struct LogBlock: Sendable, Equatable {
  /// The least non-zero value with the sign bit set where the block holds zeros; −0 for a block of zeros alone.
  package let low: Float
  /// The greatest value.
  package let high: Float
  /// P(lo'), the pattern of the least non-zero value.
  package let base: UInt32
  /// D, the patterns from the least to the greatest value.
  package let span: Double
  /// K, the number of steps: 2^b − 1, one fewer where a code stands for zero.
  package let steps: Double
  /// The code of the least non-zero value: 1 where code 0 stands for zero.
  package let first: UInt8

  /// D / K, the patterns of a step.
  package var step: Double { span / steps }

  /// The block of two ends that an encoder found; `low` carries the sign of zeros.
  package init(low: Float, high: Float, bits: Int) {
    self.low = low
    self.high = high
    base = low.bitPattern & 0x7FFF_FFFF
    span = Double(high.bitPattern &- base)
    first = low.sign == .minus ? 1 : 0
    steps = Double((1 << bits) - 1 - Int(first))
  }

  /// The block of two ends that a file holds; throws `invalidScale` for what no encoder writes.
  package init(stored low: Float, _ high: Float, bits: Int) throws(QCodecError) {
    let isValid =
      low.isFinite && high.isFinite && high.sign == .plus && high >= low.magnitude
      && (low != 0 || (high == 0 && low.sign == .minus))
    guard isValid else { throw QCodecError(.invalidScale, "a log block from \(low) to \(high)") }
    self.init(low: low, high: high, bits: bits)
  }

  /// The block of the ends that a scan found.
  init(_ ends: LogEnds, bits: Int) {
    // A block of zeros alone: lo = −0, hi = 0.
    let least = ends.least ?? 0
    self.init(
      low: Float(bitPattern: least | (ends.hasZeros ? 0x8000_0000 : 0)), high: Float(bitPattern: ends.greatest),
      bits: bits)
  }
}

/// The ends of a block so far, as patterns.
struct LogEnds {
  /// The least pattern of a non-zero value, less one: zero wraps round and is never the least.
  var leastLessOne = UInt32.max
  var greatest: UInt32 = 0
  var hasZeros = false

  /// The least pattern of a non-zero value; nil before there is one.
  var least: UInt32? { leastLessOne == .max ? nil : leastLessOne + 1 }
}

// MARK: - Bounds

extension LogBlock {
  /// The most patterns by which decoding can move a value: half a step and half a unit, a step and a unit if the code
  /// was chosen stochastically; the addends cover float64 rounding.
  func reach(_ rounding: Scheme.Rounding) -> UInt32 {
    let patterns = rounding == .stochastic ? step + 1 : step / 2 + 0.5
    return UInt32(min(patterns + 0x1p-16, span))
  }

  /// The pattern that a code decodes to; that of the least value for the code of zero.
  func pattern(code: UInt8) -> UInt32 {
    code < first ? base : base &+ UInt32((Double(code - first) * step).rounded(.toNearestOrEven))
  }

  /// The greatest pattern that an element may have had, where `pattern` is the greatest that one decodes to.
  func top(_ pattern: UInt32, _ rounding: Scheme.Rounding) -> UInt32 {
    min(pattern + reach(rounding), high.bitPattern)
  }

  /// The largest |x − x̂| in the block: g(top) − g(top − e), for the pattern's value g is convex.
  func absoluteBound(top: UInt32, _ rounding: Scheme.Rounding) -> Double {
    Double(Float(bitPattern: top)) - Double(Float(bitPattern: top - reach(rounding)))
  }

  /// The largest |x − x̂| / x of a non-zero element: an upward move from the least value, or from 2^-126 where that is
  /// smaller, for there a pattern weighs most.
  func relativeBound(_ rounding: Scheme.Rounding) -> Double {
    guard span > 0 else { return 0 }
    let from = min(base, 0x0080_0000)
    let value = Double(Float(bitPattern: from))
    return (Double(Float(bitPattern: from + reach(rounding))) - value) / value
  }
}
