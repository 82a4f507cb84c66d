/// How often scales have each binary exponent.
public struct ScaleHistogram: Sendable, Equatable {
  /// The exponent of the least subnormal float32.
  static let leastExponent = -149
  /// Counts of scales by ⌊log₂ |scale|⌋, from −149 to 127.
  public private(set) var counts = [UInt64](repeating: 0, count: 277)
  /// Scales that are zero.
  public private(set) var zeros: UInt64 = 0

  /// Of no scales.
  public init() {}

  /// Scales of any size, zeros included.
  public var total: UInt64 { counts.reduce(zeros, +) }

  /// The exponents that occur; nil where every scale is zero.
  public var exponents: ClosedRange<Int>? {
    guard let first = counts.firstIndex(where: { $0 > 0 }), let last = counts.lastIndex(where: { $0 > 0 }) else {
      return nil
    }
    return first + Self.leastExponent...last + Self.leastExponent
  }

  /// Scales of an exponent.
  public func count(exponent: Int) -> UInt64 { counts[exponent - Self.leastExponent] }

  /// Takes in a scale, which is finite.
  mutating func add(_ scale: Float) {
    if scale == 0 { zeros += 1 } else { counts[Int(scale.exponent) - Self.leastExponent] += 1 }
  }

  mutating func append(_ other: ScaleHistogram) {
    for index in counts.indices { counts[index] += other.counts[index] }
    zeros += other.zeros
  }
}
