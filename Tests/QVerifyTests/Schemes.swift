@testable import QCodec

/// A scheme to be tested, with a name for messages.
struct SchemeCase: Sendable, CustomStringConvertible {
  let name: String
  let scheme: Scheme

  var description: String { "\(name), \(scheme.rounding.name)" }

  /// The scheme under another scaling.
  func scaled(_ scaling: Scheme.Scaling) -> Scheme {
    var copy = scheme
    copy.scaling = scaling
    return copy
  }
}

/// Every named map in every width, signedness and scale rule, and custom tables that go to the rules' ends, under each
/// of the roundings given.
func schemeCases(
  _ roundings: [Scheme.Rounding] = [.nearest, .nearestKeepNonzero, .stochastic], bits: [Int] = Scheme.widths
) -> [SchemeCase] {
  roundings.flatMap { rounding in (named(rounding) + custom(rounding)).filter { bits.contains($0.scheme.bits) } }
}

private func named(_ rounding: Scheme.Rounding) -> [SchemeCase] {
  var result: [SchemeCase] = []
  for map in Scheme.Map.allCases where map != .custom && map != .log {
    for bits in Scheme.widths {
      for signed in [true, false] where MapTable.namedDigest(map, bits: bits, signed: signed) != nil {
        for rule in map.scaleRule(signed: signed) == .signedExtreme
          ? [Scheme.ScaleRule.signedExtreme, .absmax] : [.absmax]
        {
          let scheme = Scheme(
            map: map, bits: bits, signed: signed, scaling: .block(64), rounding: rounding,
            seed: rounding == .stochastic ? 11 : 0, scaleRule: rule)
          let name = "\(map.name) \(bits) \(signed ? "signed" : "unsigned") \(rule.name)"
          result.append(SchemeCase(name: name, scheme: scheme))
        }
      }
    }
  }
  return result
}

/// Custom tables: the distinct entries, the last of which pads.
private let tables: [(name: String, signed: Bool, entries: [Float])] = [
  ("without -1, padded", true, [-0.9, -0.5, -0.1, 0, 0.05, 0.3, 1]),
  ("without zero", true, [-1, -0.3, -0.02, 0.05, 0.4, 1]),
  ("positive, yet signed", true, [0.25, 0.5, 1]),
  ("of one entry", true, [1]),
  ("of subnormal entries", true, [-1, -0x1p-126, 0, 0x1p-148, 0x1p-140, 1]),
  ("unsigned", false, [0, 0.001, 0.3, 0.31, 1]),
  ("unsigned without zero", false, [0.1, 0.2, 0.7, 1]),
]

private func custom(_ rounding: Scheme.Rounding) -> [SchemeCase] {
  tables.flatMap { name, signed, entries in
    [(Scheme.ScaleRule.signedExtreme, 16), (.absmax, 16), (.signedExtreme, 8), (.absmax, 64)].map { rule, count in
      let padded = entries + [Float](repeating: 1, count: count - entries.count)
      guard let table = try? MapTable(custom: padded, signed: signed, scaleRule: rule) else {
        preconditionFailure("the table '\(name)' is not valid")
      }
      let scheme = Scheme(
        map: .custom, bits: table.bits, signed: signed, scaling: .block(64), rounding: rounding,
        seed: rounding == .stochastic ? 5 : 0, customTable: table)
      return SchemeCase(name: "custom \(name) of \(count), \(rule.name)", scheme: scheme)
    }
  }
}
