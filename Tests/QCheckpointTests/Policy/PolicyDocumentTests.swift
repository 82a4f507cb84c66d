import QCodec
import Testing

@testable import QCheckpoint

@Suite("Policy documents: extends, globs, fallback, compression")
struct PolicyDocumentTests {
  private func policy(_ text: String) throws -> Policy { try Policy(json: JSONValue(parsing: text)) }

  private func encoding(_ policy: Policy, _ name: String, _ shape: [UInt64] = [64, 64]) throws -> Policy.Decision {
    try policy.plan([TensorSummary(name: name, dtype: .f32, shape: shape)])[0].decision
  }

  private let lossless = Policy.Decision.encode(.init(encoding: .lossless(reason: .none)))

  @Test("A preset extended by nothing is that preset under another name", arguments: Policy.presetNames)
  func extends(preset: String) throws {
    let base = try #require(Policy.preset(preset))
    let own = try policy(#"{"extends": "\#(preset)"}"#)
    #expect(own.rules == base.rules && own.minElements == base.minElements && own.name == "custom")
    #expect(try policy(#"{"extends": "\#(preset)", "name": "mine", "min_elements": 7}"#).minElements == 7)
    #expect(try policy(#"{"extends": "\#(preset)", "name": "mine", "rules": []}"#).name == "mine")
  }

  @Test("Own rules come before the preset's, globs before both")
  func order() throws {
    let policy = try policy(
      #"""
      {"extends": "paper8", "keep_lossless": ["*embed*", "head.*"], "drop": "tmp.*", "rules": [
        {"match": {"role": "second_moment"}, "action": "quantize", "scheme": {"map": "log", "bits": 4}},
        {"match": {"name": "*embed*"}, "action": "drop"}]}
      """#)
    #expect(policy.rules.count == 3 + 2 + 2)
    #expect(try encoding(policy, "exp_avg/embed.w") == lossless)
    #expect(try encoding(policy, "head.exp_avg") == lossless)
    #expect(try encoding(policy, "tmp.exp_avg") == .drop)
    // keep_lossless stands before drop.
    #expect(try encoding(policy, "tmp.embed") == lossless)
    #expect(
      try encoding(policy, "exp_avg_sq/w")
        == .encode(
          .init(encoding: .quantized(Scheme(map: .log, bits: 4, signed: false, scaling: .block(256))))))
    let dynamic = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    #expect(
      try encoding(policy, "exp_avg/w") == .encode(.init(encoding: .quantized(dynamic), negativeFallsBack: true)))
    // The preset's limit holds.
    #expect(
      try encoding(policy, "exp_avg/w", [4095]) == .encode(.init(encoding: .lossless(reason: .tooSmall))))
  }

  @Test("keep-lossless is the same with another line")
  func hyphen() throws {
    for key in ["keep_lossless", "keep-lossless"] {
      #expect(
        try encoding(policy(#"{"extends": "paper8", "\#(key)": "*w"}"#), "exp_avg/w") == lossless)
    }
  }

  @Test("Fallback and compression reach the plan")
  func members() throws {
    let policy = try policy(
      #"""
      {"rules": [{"match": {"role": "first_moment"}, "action": "quantize", "compression": "zstd",
          "scheme": {"map": "normal", "bits": 4, "domain": "update"},
          "fallback": {"map": "linear", "bits": 8, "scaling": "row"}},
        {"match": {"role": "second_moment"}, "action": "quantize", "scheme": {"map": "log", "bits": 8}},
        {"action": "lossless", "compression": "none"}]}
      """#)
    let planned = try policy.plan(
      ["exp_avg/w", "exp_avg_sq/w", "exp_avg/u", "x"].map {
        TensorSummary(name: $0, dtype: .f32, shape: [64, 64])
      })
    let row = Scheme(map: .linear, bits: 8, signed: true, scaling: .row)
    let plans = planned.compactMap(\.decision.plan)
    #expect(plans.map(\.compression) == [.zstd, nil, .zstd, Compression.none])
    #expect(plans[0].encoding == .quantized(updateScheme(.block(128), map: .normal, bits: 4)))
    #expect(plans[0].fallback == row && planned[0].partner == 1)
    #expect(plans[2].encoding == .quantized(row, reason: .noSecondMoment))
    #expect(plans[1].encoding == .quantized(log8) && plans[3].encoding == .lossless(reason: .none))
  }

  @Test(
    "Dropping or keeping the second moment leaves the first without a usable partner",
    arguments: ["drop", "keep_lossless"])
  func withoutSecond(member: String) throws {
    let policy = try policy(#"{"extends": "adam8", "\#(member)": "exp_avg_sq/*"}"#)
    let planned = try policy.plan(
      ["exp_avg/w", "exp_avg_sq/w"].map { TensorSummary(name: $0, dtype: .f32, shape: [64, 64]) })
    let dynamic = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    #expect(planned[0].decision.plan?.encoding == .quantized(dynamic, reason: .secondMomentNotUsable))
    #expect(planned[0].partner == nil)
    #expect(planned[1].decision == (member == "drop" ? .drop : lossless))
  }

  @Test("Every part of it reads back equal")
  func roundTrip() throws {
    for text in [
      #"{"extends": "adam8"}"#, #"{"extends": "adam4", "keep-lossless": "*a*", "drop": ["b", "[!c]?"]}"#,
      #"""
      {"name": "n", "min_elements": 9, "rules": [{"match": {"role": ["first_moment", "momentum"], "max_dims": 2},
        "action": "quantize", "compression": "lz4", "negative": "lossless",
        "scheme": {"map": "dynamic", "bits": 8, "domain": "update", "scaling": "column"},
        "fallback": {"map": "dynamic", "bits": 4, "rounding": "stochastic", "seed": "18446744073709551615"}}]}
      """#,
    ] {
      let own = try policy(text)
      let written = own.json.serialized()
      #expect(try policy(written) == own, "\(text)")
      #expect(try policy(written).json.serialized() == written, "\(text)")
      // What is stored is resolved: it needs no preset to be read.
      #expect(own.json["extends"] == nil)
    }
  }

  @Test(
    "What is refused, with its place",
    arguments: [
      (#"{"extends": "adam9"}"#, "policy.extends is \"adam9\", not one of"),
      (#"{"extends": 8}"#, "policy.extends is to be"),
      (#"{"extends": "adam8", "rules": {}}"#, "policy.rules is to be an array"),
      (#"{"extends": "adam8", "keep_lossless": "[a"}"#, "policy.keep_lossless the glob '[a' holds a '['"),
      (#"{"extends": "adam8", "keep_lossless": []}"#, "policy.keep_lossless is empty"),
      (#"{"extends": "adam8", "drop": [1]}"#, "policy.drop is to hold strings alone"),
      (#"{"extends": "adam8", "keep": "a"}"#, "policy.keep is unknown"),
      (#"{"rules": [{"action": "lossless", "compression": "gzip"}]}"#, "policy.rules[0].compression is \"gzip\""),
      (#"{"rules": [{"action": "drop", "compression": "lz4"}]}"#, "policy.rules[0].compression does not belong"),
      (
        #"{"rules": [{"action": "drop", "fallback": {"map": "linear", "bits": 8}}]}"#,
        "policy.rules[0].fallback belongs"
      ),
      (
        #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 8}, "fallback": {"map": "linear", "bits": 8}}]}"#,
        "policy.rules[0].fallback is a scheme of the value domain for one of the update domain"
      ),
      (
        #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 8, "domain": "update"}, "fallback": {"map": "linear", "bits": 8, "domain": "update"}}]}"#,
        "policy.rules[0].fallback is a scheme of the value domain"
      ),
      (
        #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 8, "domain": "updates"}}]}"#,
        "policy.rules[0].scheme.domain is \"updates\", not one of value, update"
      ),
    ])
  func refused(text: String, message: String) {
    let error = inputError { _ = try policy(text) }
    #expect(error?.code == .invalidPolicy)
    #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "accepted")")
  }

  @Test("Blocks of the log map are twice as large by default")
  func defaults() throws {
    func scheme(_ text: String) throws -> Scheme { try Scheme(json: JSONValue(parsing: text)) }
    #expect(try scheme(#"{"map": "log", "bits": 8}"#) == log8)
    #expect(try scheme(#"{"map": "log", "bits": 4}"#) == log4)
    #expect(try scheme(#"{"map": "log", "bits": 4, "block": 32}"#).scaling == .block(32))
    #expect(try scheme(#"{"map": "linear", "bits": 8, "domain": "update"}"#) == updateScheme())
  }
}
