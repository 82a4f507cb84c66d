import QCheckpoint
import QCodec

extension Plan {
  /// A policy under which `encode` stores each tensor as planned, to the byte: a rule for each, by its whole name, and
  /// nothing but the lossless stage for all others. Throws `invalidArgument` for a name that no pattern can be made of.
  public func policy(name: String) throws(QCodecError) -> Policy {
    var rules: [Policy.Rule] = []
    for (unit, chosen) in choices {
      for (tensor, scheme) in [(unit.unit.first, chosen.candidate.first), (unit.unit.second, chosen.candidate.second)] {
        guard let tensor, let scheme else { continue }
        let match = Policy.Match(name: try Glob(literal: tensor.name))
        rules.append(Policy.Rule(match: match, action: .quantize(scheme)))
      }
    }
    return Policy(name: name, rules: rules)
  }
}
