/// How far apart the codes of a tensor stand, where its writer says so and not the extremes of its blocks.
///
/// A uniform step beats a fixed width once an entropy coder follows: codes that nobody needs cost nothing, and the error is
/// bounded by half a step everywhere (the classical result for memoryless sources at high rate: Gish and Pierce,
/// *Asymptotically Efficient Quantizing*, 1968). Decoding does not depend on it; `EncodingStep` says what it makes of scales.
public enum QuantizationStep: Sendable, Hashable {
  /// Neighbouring entries of the `linear` map differ by so much, in units of what is coded: of the tensor, in the update
  /// domain of m/√v̂.
  case absolute(Double)
  /// The same in units of the root mean square of what is coded, zeros left out: they decode to zeros whatever the step. What
  /// has such a step already keeps it.
  case rms(Double)
  /// Neighbouring codes of the `log` map are so many octaves apart, 8 at most; about 1 is what one of 8 bits can reach.
  case octaves(Double)

  /// The number, whatever its unit.
  public var value: Double {
    switch self {
    case .absolute(let value), .rms(let value), .octaves(let value): value
    }
  }

  /// The name of the unit in policies: `absolute`, `rms`, `octaves`.
  public var name: String {
    switch self {
    case .absolute: "absolute"
    case .rms: "rms"
    case .octaves: "octaves"
    }
  }

  /// Whether its size depends on the values of the tensor, so that these are to be looked at first.
  public var dependsOnValues: Bool { if case .absolute = self { false } else { true } }

  /// Throws `unsupportedScheme` where the number is not one that serves or the scheme's map has no such step.
  public func check(_ scheme: Scheme) throws(QCodecError) {
    guard value > 0, value.isFinite else { throw QCodecError(.unsupportedScheme, "a step is positive, not \(value)") }
    guard case .octaves = self else {
      guard scheme.map == .linear else {
        throw QCodecError(.unsupportedScheme, "the \(scheme.map.name) map has no step; the linear map has")
      }
      return
    }
    guard scheme.map == .log else {
      throw QCodecError(.unsupportedScheme, "a step in octaves is one of the log map, not of \(scheme.map.name)")
    }
    guard value <= 8 else { throw QCodecError(.unsupportedScheme, "a step of \(value) octaves, 8 at most") }
  }

  /// What serves a scheme of the value domain that takes the place of one of the update domain: a step that is relative.
  package func ofFallback(_ scheme: Scheme) -> QuantizationStep? {
    if case .rms = self, scheme.map == .linear { self } else { nil }
  }
}
