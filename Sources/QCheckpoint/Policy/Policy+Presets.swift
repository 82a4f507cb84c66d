import QCodec

extension Policy {
  /// The names of the presets.
  public static let presetNames = ["paper8", "paper4", "lossless"]

  /// The preset of a name, or nil.
  ///
  /// - `paper8`: *8-bit Optimizers via Block-wise Quantization* (dynamic maps) with blocks of 256.
  /// - `paper4`: *Memory Efficient Optimizers with 4-bit States* (dynamic and linear-nozero maps, rank1 scales).
  /// - `lossless`: every tensor bit for bit.
  public static func preset(_ name: String) -> Policy? {
    switch name {
    case "paper8":
      moments(
        name, first: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
        second: Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256)))
    case "paper4":
      moments(
        name, first: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
        second: Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
    case "lossless": Policy(name: name, rules: [])
    default: nil
    }
  }

  /// First moments and momentum under one scheme, second moments under another, from 4,096 elements, as both papers do.
  private static func moments(_ name: String, first: Scheme, second: Scheme) -> Policy {
    Policy(
      name: name,
      rules: [
        Rule(match: Match(roles: [.firstMoment, .momentum]), action: .quantize(first), negativeFallsBack: true),
        Rule(match: Match(roles: [.secondMoment]), action: .quantize(second), negativeFallsBack: true),
      ], minElements: 4096)
  }
}

extension Policy {
  /// The policy with plain absolute maxima for scales, as bitsandbytes has them.
  public func withAbsmaxScales() -> Policy {
    mappingSchemes { $0.scaleRule = .absmax }
  }

  /// The policy with seeded stochastic rounding in every scheme.
  public func withStochasticRounding(seed: UInt64) -> Policy {
    mappingSchemes {
      $0.rounding = .stochastic
      $0.seed = seed
    }
  }

  /// The policy in which a non-zero element never takes a zero code; maps without a zero are left as they are.
  public func keepingNonzero() -> Policy {
    mappingSchemes { scheme in
      guard scheme.map != .linearNoZero, scheme.map != .dynamicNoZero else { return }
      scheme.rounding = .nearestKeepNonzero
      scheme.seed = 0
    }
  }

  private func mappingSchemes(_ change: (inout Scheme) -> Void) -> Policy {
    var result = self
    for index in result.rules.indices {
      guard case .quantize(var scheme) = result.rules[index].action else { continue }
      change(&scheme)
      result.rules[index].action = .quantize(scheme)
    }
    return result
  }
}
