/// How often scales of each power of two occur.
///
/// A scale counts for the exponent of its magnitude: those from 2^e up to, not with, 2^(e + 1) for e. Blocks of the `log` map
/// count for their greatest values.
public struct ScaleHistogram: Sendable, Equatable {
  /// Counts by exponent, −149 for the least subnormal to 127; no exponent whose count is 0.
  public private(set) var counts: [Int: UInt64] = [:]
  /// Scales that are 0: blocks of zeros.
  public private(set) var zeros: UInt64 = 0
  /// Scales that are NaN or infinite, which files of other writers may hold.
  public private(set) var nonFinite: UInt64 = 0

  /// No scales.
  public init() {}

  init(_ scales: [Float]) {
    for scale in scales {
      if scale == 0 {
        zeros += 1
      } else if !scale.isFinite {
        nonFinite += 1
      } else {
        counts[Int(scale.exponent), default: 0] += 1
      }
    }
  }

  /// Adds the counts of other scales.
  public mutating func append(_ other: ScaleHistogram) {
    counts.merge(other.counts) { $0 + $1 }
    zeros += other.zeros
    nonFinite += other.nonFinite
  }

  /// How many scales were counted.
  public var total: UInt64 { counts.values.reduce(zeros + nonFinite, +) }
}
