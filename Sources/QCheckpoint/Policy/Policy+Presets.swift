import QCodec

extension Policy {
  /// The names of the presets.
  public static let presetNames = ["adam8", "adam4", "adamq", "paper8", "paper4", "live8", "live4", "lossless"]
  /// The preset that is used where none is named.
  public static let defaultName = "adam8"

  /// The preset of a name, or nil.
  ///
  /// - `adam8`: first moments in the update domain, second moments under `log`, 8 bits; for closeness to the exact update.
  /// - `adam4`: the same with 4 bits.
  /// - `adamq`: uniform steps and zstd behind them, for the fewest bits at an error; `adamq:Q` aims at the relative error Q
  ///   (see `adamq(quality:)`).
  /// - `paper8`: *8-bit Optimizers via Block-wise Quantization* (dynamic maps) with blocks of 256.
  /// - `paper4`: *Memory Efficient Optimizers with 4-bit States* (dynamic and linear-nozero maps, rank1 scales).
  /// - `live8`: what optimizers keep between steps, where moments are coded anew in each: the signed dynamic map and `log`,
  ///   embeddings in 32 bits. Streams of optimizers are stored under it as they are.
  /// - `live4`: the same with 4 bits; a momentum without second moment is rounded stochastically.
  /// - `lossless`: every tensor bit for bit.
  public static func preset(_ name: String) -> Policy? {
    switch name {
    case "adam8":
      moments(
        name, first: Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update),
        second: Scheme(map: .log, bits: 8, signed: false, scaling: .block(512)),
        momentum: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
    case "adam4":
      moments(
        name, first: Scheme(map: .cubic, bits: 4, signed: true, scaling: .block(128), domain: .update),
        second: Scheme(map: .log, bits: 4, signed: false, scaling: .block(256)),
        momentum: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)))
    case "adamq": adamq()
    case "paper8":
      moments(
        name, first: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
        second: Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256)))
    case "paper4":
      moments(
        name, first: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
        second: Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
    case "live8":
      moments(
        name, first: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
        second: Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
      ).keepingEmbeddings()
    case "live4":
      moments(
        name, first: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
        second: Scheme(map: .log, bits: 4, signed: false, scaling: .block(256)),
        // A momentum has nothing to be divided by; to nearest, in 4 bits, it stalls (Tests/Benchmarks/OPTIMIZERS.md).
        momentum: Scheme(
          map: .dynamic, bits: 4, signed: true, scaling: .block(128), rounding: .stochastic, seed: 1)
      ).keepingEmbeddings()
    case "lossless": Policy(name: name, rules: [])
    default: qualityName(name).map { adamq(quality: $0) }
    }
  }

  /// First moments, second moments and momentum under a scheme each, from 4,096 elements, as both papers do; without one
  /// of its own momentum has that of first moments.
  private static func moments(_ name: String, first: Scheme, second: Scheme, momentum: Scheme? = nil) -> Policy {
    var rules = [
      Rule(
        match: Match(roles: momentum == nil ? [.firstMoment, .momentum] : [.firstMoment]), action: .quantize(first),
        negativeFallsBack: true, fallback: first.domain == .update ? momentum : nil),
      Rule(match: Match(roles: [.secondMoment]), action: .quantize(second), negativeFallsBack: true),
    ]
    if let momentum {
      rules.append(Rule(match: Match(roles: [.momentum]), action: .quantize(momentum), negativeFallsBack: true))
    }
    return Policy(name: name, rules: rules, minElements: 4096)
  }
}

extension Scheme {
  /// What first moments of this scheme of the update domain fall back to: the signed dynamic map of the same width, or
  /// `cubic` where it has none, in blocks, rounded as this one.
  var updateFallback: Scheme {
    var block = Self.defaultBlock(bits: bits)
    if case .block(let size) = scaling { block = size }
    let map = bits == 4 || bits == 8 ? Map.dynamic : .cubic
    return Scheme(map: map, bits: bits, signed: true, scaling: .block(block), rounding: rounding, seed: seed)
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
      guard scheme.map != .linearNoZero, scheme.map != .dynamicNoZero, scheme.map != .log else { return }
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
      if var fallback = result.rules[index].fallback {
        change(&fallback)
        result.rules[index].fallback = fallback
      }
    }
    return result
  }
}
