/// The error relative to the value, |x − x̂| / |x|, by the decade of |x|.
public struct MagnitudeHistogram: Sendable, Equatable {
  /// Elements of one decade.
  public struct Decade: Sendable, Equatable {
    /// Elements with 10^k ≤ |x| < 10^(k + 1).
    public var count: UInt64 = 0
    /// Σ |x − x̂| / |x|.
    public var sum = 0.0
    /// max |x − x̂| / |x|.
    public var max = 0.0
    /// Elements that decode to zero.
    public var zeroed: UInt64 = 0

    /// Σ |x − x̂| / |x| over the count; 0 without elements.
    public var mean: Double { count == 0 ? 0 : sum / Double(count) }
  }

  /// The k of the least subnormal float32.
  private static let leastDecade = -45
  private var decades = [Decade](repeating: Decade(), count: 84)
  /// Elements that are zero in the original.
  public private(set) var zeros: UInt64 = 0

  /// Of no elements.
  public init() {}

  /// The decades that occur, in order.
  public var occupied: [(decade: Int, figures: Decade)] {
    decades.enumerated().filter { $0.element.count > 0 }.map { ($0.offset + Self.leastDecade, $0.element) }
  }

  /// Elements of any size, zeros included.
  public var total: UInt64 { decades.reduce(zeros) { $0 + $1.count } }

  /// Takes in an element as it was and as it decodes; the original is finite.
  mutating func add(_ exact: Double, decoded: Double) {
    guard exact != 0 else {
      zeros += 1
      return
    }
    let error = (exact - decoded).magnitude / exact.magnitude
    let place = min(max(Int(decimalLogarithm(exact.magnitude).rounded(.down)) - Self.leastDecade, 0), decades.count - 1)
    decades[place].count += 1
    decades[place].sum += error
    decades[place].max = max(decades[place].max, error.isNaN ? .infinity : error)
    if decoded == 0 { decades[place].zeroed += 1 }
  }

  mutating func append(_ other: MagnitudeHistogram) {
    zeros += other.zeros
    for index in decades.indices {
      decades[index].count += other.decades[index].count
      decades[index].sum += other.decades[index].sum
      decades[index].max = max(decades[index].max, other.decades[index].max)
      decades[index].zeroed += other.decades[index].zeroed
    }
  }
}
