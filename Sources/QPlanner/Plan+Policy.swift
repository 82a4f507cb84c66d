import QCheckpoint
import QCodec

extension Plan {
  /// A policy under which `encode` stores each tensor as planned, to the byte: a rule for each, by its whole name, and
  /// nothing but the lossless stage for all others. Throws `invalidArgument` for a name that no pattern can be made of.
  public func policy(name: String) throws(QCodecError) -> Policy {
    var rules: [Policy.Rule] = []
    for (unit, chosen) in choices {
      let way = chosen.candidate
      for (tensor, scheme, step) in [
        (unit.unit.first, way.first, way.firstStep), (unit.unit.second, way.second, way.secondStep),
      ] {
        guard let tensor, let scheme else { continue }
        let match = Policy.Match(name: try Glob(literal: tensor.name))
        rules.append(Policy.Rule(match: match, action: .quantize(scheme), step: step))
      }
    }
    return Policy(name: name, rules: rules)
  }
}
