import QCheckpoint
import QCodec

extension PlanCandidate {
  /// What is measured of every unit, whatever a sample says of it.
  ///
  /// Of pairs that is lossless, and what presets are that stand beside plans: plans are to be no worse. `firsts` and `seconds`
  /// come on top, and tables that are fitted to a tensor (`PairCandidates`).
  static func catalogue(of unit: PlanUnit) -> [PlanCandidate] {
    let lossless = PlanCandidate()
    guard unit.isQuantizable else { return [lossless] }
    if unit.isPair { return [lossless] + presets }
    if unit.first != nil {
      return [lossless] + signed(blocks: [32, 64, 128, 256, 1024]).map { PlanCandidate(first: $0) }
    }
    return [lossless] + (seconds + unsigned).map { PlanCandidate(second: $0) }
  }

  /// First moments of pairs: in the update domain, whose errors are those of the update, and in the value domain, whose errors
  /// are those of the tensor.
  static let firsts: [Scheme] = updates + signed(blocks: [128, 256])

  /// Second moments, of pairs under `log` alone: no other map keeps the update bounded (Spec/ErrorBounds.md).
  static let seconds: [Scheme] = [
    logs([8], [128, 512, 2048, 8192]), logs([6, 5], [64, 128, 256, 512, 1024]),
    logs([4], [32, 64, 128, 256, 512, 1024]),
    logs([3, 2], [32, 64, 128, 256]),
  ].flatMap(\.self)

  /// The pairs of adam8, adam4, live8 and live4.
  private static let presets: [PlanCandidate] = [
    PlanCandidate(first: scheme(.cubic, 8, 256, .update), second: scheme(.log, 8, 512, signed: false)),
    PlanCandidate(first: scheme(.cubic, 4, 128, .update), second: scheme(.log, 4, 256, signed: false)),
    PlanCandidate(first: scheme(.dynamic, 8, 256), second: scheme(.log, 8, 512, signed: false)),
    PlanCandidate(first: scheme(.dynamic, 4, 128), second: scheme(.log, 4, 256, signed: false)),
  ]

  private static let updates: [Scheme] = [
    inUpdates(.cubic, [8], [64, 256, 1024, 4096]), inUpdates(.cubic, [6, 5], [64, 128, 256, 1024]),
    inUpdates(.cubic, [4], [32, 64, 128, 256, 1024]), inUpdates(.cubic, [3, 2], [32, 64, 128]),
    inUpdates(.linear, [8], [256]), inUpdates(.linear, [6, 5, 4, 3, 2], [64]), inUpdates(.linearNoZero, [3, 2], [64]),
    inUpdates(.normal, [4], [64]),
  ].flatMap(\.self)

  private static let unsigned: [Scheme] =
    [(8, 256), (4, 128)].flatMap { bits, block in
      [scheme(.dynamicNoZero, bits, block, signed: false), scheme(.linearNoZero, bits, block, signed: false)]
    } + [6, 5, 3, 2].map { bits in scheme(.linearNoZero, bits, 128, signed: false) }

  /// In the value domain.
  private static func signed(blocks: [Int]) -> [Scheme] {
    blocks.flatMap { block -> [Scheme] in
      var own = [scheme(.dynamic, 8, block), scheme(.dynamic, 4, block), scheme(.normal, 4, block)]
      own += Scheme.widths.map { bits in scheme(.cubic, bits, block) }
      own += [6, 5, 3, 2].map { bits in scheme(.linear, bits, block) }
      return own
    }
  }

  private static func inUpdates(_ map: Scheme.Map, _ widths: [Int], _ blocks: [Int]) -> [Scheme] {
    widths.flatMap { bits in blocks.map { block in scheme(map, bits, block, .update) } }
  }

  private static func logs(_ widths: [Int], _ blocks: [Int]) -> [Scheme] {
    widths.flatMap { bits in blocks.map { block in scheme(.log, bits, block, signed: false) } }
  }

  private static func scheme(
    _ map: Scheme.Map, _ bits: Int, _ block: Int, _ domain: Scheme.Domain = .value, signed: Bool = true
  ) -> Scheme {
    Scheme(map: map, bits: bits, signed: signed, scaling: .block(block), domain: domain)
  }
}
