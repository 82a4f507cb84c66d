import QCheckpoint
import QCodec

/// What `bench` encodes and decodes: one scheme on one moment, or a pair of schemes on both.
struct BenchScheme {
  enum Work {
    case first(Scheme)
    case second(Scheme)
    case pair(first: Scheme, second: Scheme)
  }

  /// The map, or the preset of a pair.
  let name: String
  let work: Work

  /// The scheme that a row is described by; of a pair that of the first moment.
  var scheme: Scheme {
    switch work {
    case .first(let scheme), .second(let scheme), .pair(let scheme, _): scheme
    }
  }

  /// Bytes of float32 that one run encodes.
  func byteCount(elements: Int) -> Int { if case .pair = work { 8 * elements } else { 4 * elements } }

  /// "dynamic s8 block256".
  var title: String { if case .pair = work { "\(name) pair" } else { Describe.scheme(scheme) } }

  /// Every row, in the order of the report.
  static var all: [BenchScheme] {
    [
      alone(.dynamic, 8, signed: true, .block(256)), alone(.dynamic, 8, signed: false, .block(256)),
      alone(.linear, 8, signed: true, .block(256)), alone(.cubic, 8, signed: true, .block(256)),
      alone(.log, 8, signed: false, .block(512)), alone(.dynamic, 4, signed: true, .block(128)),
      alone(.normal, 4, signed: true, .block(128)), alone(.linearNoZero, 4, signed: false, .block(128)),
      alone(.linearNoZero, 4, signed: false, .rank1),
    ] + ["adam8", "adam4"].compactMap { pair($0) }
  }

  private static func alone(_ map: Scheme.Map, _ bits: Int, signed: Bool, _ scaling: Scheme.Scaling) -> BenchScheme {
    let scheme = Scheme(map: map, bits: bits, signed: signed, scaling: scaling)
    return BenchScheme(name: map.name, work: signed ? .first(scheme) : .second(scheme))
  }

  /// The schemes that a preset has for moments.
  static func pair(_ preset: String) -> BenchScheme? {
    func scheme(_ role: Role) -> Scheme? {
      let rule = Policy.preset(preset)?.rules.first { $0.match.roles?.contains(role) == true }
      guard case .quantize(let scheme)? = rule?.action else { return nil }
      return scheme
    }
    guard let first = scheme(.firstMoment), let second = scheme(.secondMoment) else { return nil }
    return BenchScheme(name: preset, work: .pair(first: first, second: second))
  }
}
