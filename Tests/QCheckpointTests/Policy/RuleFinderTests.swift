import QCodec
import Testing

@testable import QCheckpoint

@Suite("Rules by name")
struct RuleFinderTests {
  private static func rule(_ pattern: String?, _ action: Policy.Action, dims: Int? = nil) throws -> Policy.Rule {
    Policy.Rule(match: Policy.Match(name: try pattern.map { try Glob($0) }, minDims: dims), action: action)
  }

  @Test("The first rule of the policy decides, whether it is for one name or for several")
  func order() throws {
    let policy = Policy(
      name: "own",
      rules: [
        try Self.rule("a.b", .drop, dims: 2), try Self.rule("a.*", .lossless), try Self.rule("a.b", .drop),
        try Self.rule("[*]", .drop), try Self.rule("é", .drop), try Self.rule("*", .lossless, dims: 1),
      ])
    let decide = { (name: String, shape: [UInt64]) in
      try policy.decide(name: name, role: .other, dtype: .f32, shape: shape) == .drop
    }
    #expect(try decide("a.b", [2, 2]))
    // The condition on dims fails, and the next rule is not the one of the same name.
    #expect(try !decide("a.b", [4]))
    #expect(try decide("*", [4]))
    #expect(try !decide("x", [4]))
    // Of another normalisation it is another name.
    #expect(try decide("\u{E9}", [4]) != decide("e\u{301}", [4]))
  }

  @Test("As asking rule after rule", arguments: ["w", "w1", "v", "", "w*", "[w]", "ww"])
  func linear(name: String) throws {
    let patterns = ["w?", "w", nil, "[w]", "w[*]", "v", "w*", "", "*w"]
    for start in patterns.indices {
      let rules = try (patterns[start...] + patterns[..<start]).enumerated().map { index, pattern in
        try Self.rule(pattern, index % 2 == 0 ? .lossless : .drop, dims: index % 3)
      }
      for dims in 0..<3 {
        let holds = { (match: Policy.Match) in
          match.holds(name: name, role: .other, dtype: .f32, dims: dims, elements: 1)
        }
        #expect(RuleFinder(rules).first(forName: name, where: holds) == rules.first { holds($0.match) })
      }
    }
  }
}
