/// The counter hash of stochastic rounding: a 24-bit number from seed, tensor name and element index.
///
/// The mixer is the finalizer of splitmix64 (Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*,
/// 2014). Equal at every thread count, for it has no state.
public struct StochasticCounter: Sendable {
  private let seed: UInt64
  private let name: UInt64

  /// The counter of a seed and a tensor's name.
  public init(seed: UInt64, tensor name: String) {
    self.seed = seed
    self.name = xxh3(name)
  }

  /// The number of an element, 0 to 2^24 − 1.
  @inline(__always)
  public func number(at index: UInt64) -> UInt32 {
    let counter = Self.mix(name &+ index &* 0x9E37_79B9_7F4A_7C15)
    return UInt32(truncatingIfNeeded: Self.mix(seed ^ counter) >> 40)
  }

  @inline(__always)
  private static func mix(_ value: UInt64) -> UInt64 {
    var x = value
    x = (x ^ x >> 30) &* 0xBF58_476D_1CE4_E5B9
    x = (x ^ x >> 27) &* 0x94D0_49BB_1331_11EB
    return x ^ x >> 31
  }
}
