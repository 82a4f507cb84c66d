import QCodec
import Testing

@testable import QCheckpoint

@Suite struct PolicyTests {
  private func policy(_ text: String) throws -> Policy { try Policy(json: JSONValue(parsing: text)) }

  private func refusal(_ text: String) -> QCodecError? { inputError { _ = try policy(text) } }

  private func decision(
    _ policy: Policy, _ name: String = "x", _ role: Role = .other, _ dtype: DType = .f32, _ shape: [UInt64] = [64, 64]
  ) throws -> Policy.Decision {
    try policy.decide(name: name, role: role, dtype: dtype, shape: shape)
  }

  private let lossless = Policy.Decision.encode(.init(encoding: .lossless(reason: .none)))

  // MARK: Rules

  @Test func theFirstRuleThatMatchesDecides() throws {
    let policy = try policy(
      #"""
      {"rules": [{"match": {"name": "*embed*"}, "action": "lossless"},
        {"match": {"role": ["first_moment", "momentum"]}, "action": "quantize", "scheme": {"map": "linear", "bits": 8}},
        {"match": {"name": "drop/*", "dtype": "I64"}, "action": "drop"}]}
      """#)
    let linear = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256))
    let quantized = Policy.Decision.encode(.init(encoding: .quantized(linear)))
    #expect(try decision(policy, "m/embed", .firstMoment) == lossless)
    #expect(try decision(policy, "m/x", .firstMoment) == quantized)
    #expect(try decision(policy, "m/x", .momentum) == quantized)
    #expect(try decision(policy, "m/x", .secondMoment) == lossless)
    #expect(try decision(policy, "drop/x", .other, .i64) == .drop)
    #expect(try decision(policy, "drop/x", .other, .i32) == lossless)
    #expect(try decision(policy, "drop/embed", .other, .i64) == lossless)
  }

  @Test func boundsOfDimsAndElementsIncludeTheirEnds() throws {
    let policy = try policy(
      #"""
      {"rules": [{"match": {"min_dims": 2, "max_dims": 3, "min_elements": 10, "max_elements": 20}, "action": "drop"}]}
      """#)
    func drops(_ shape: [UInt64]) throws -> Bool { try decision(policy, "x", .other, .f32, shape) == .drop }
    #expect(try drops([2, 5]))
    #expect(try drops([1, 4, 5]))
    #expect(try !drops([3, 3]))
    #expect(try !drops([3, 7]))
    #expect(try !drops([10]))
    #expect(try !drops([1, 1, 1, 10]))
  }

  @Test func aSchemeThatDoesNotApplyLeavesItsReason() throws {
    let policy = try policy(
      #"{"min_elements": 100, "rules": [{"action": "quantize", "scheme": {"map": "dynamic", "bits": 4}}]}"#)
    func reason(_ dtype: DType, _ shape: [UInt64]) throws -> FallbackReason? {
      guard case .encode(let plan) = try decision(policy, "x", .other, dtype, shape),
        case .lossless(let reason) = plan.encoding
      else { return nil }
      return reason
    }
    #expect(try reason(.f32, [100]) == nil)
    #expect(try reason(.bf16, [100]) == nil)
    #expect(try reason(.f32, [99]) == .tooSmall)
    #expect(try reason(.f32, []) == .tooSmall)
    #expect(try reason(.f32, [0, .max]) == .tooSmall)
    #expect(try reason(.f64, [100]) == .dtype)
    #expect(try reason(.i8, [1]) == .dtype)
  }

  @Test func aShapeBeyond64BitsIsRefusedWithItsTensor() {
    let policy = Policy(name: "p", rules: [])
    let error = inputError { _ = try decision(policy, "big", .other, .f32, [1 << 40, 1 << 40]) }
    #expect(error?.code == .limitExceeded)
    #expect(error?.tensor == "big")
  }

  // MARK: Presets

  @Test func presetsAreThoseOfThePapers() throws {
    let signed8 = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    let unsigned8 = Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256))
    let signed4 = Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128))
    let unsigned4 = Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1)
    for (name, first, second) in [("paper8", signed8, unsigned8), ("paper4", signed4, unsigned4)] {
      let policy = try #require(Policy.preset(name))
      #expect(policy.name == name)
      #expect(
        try decision(policy, "m", .firstMoment) == .encode(.init(encoding: .quantized(first), negativeFallsBack: true)))
      #expect(
        try decision(policy, "m", .momentum) == .encode(.init(encoding: .quantized(first), negativeFallsBack: true)))
      #expect(
        try decision(policy, "v", .secondMoment)
          == .encode(.init(encoding: .quantized(second), negativeFallsBack: true)))
      for role in [Role.other, .parameter, .masterWeight] { #expect(try decision(policy, "p", role) == lossless) }
      let small = Policy.Decision.encode(.init(encoding: .lossless(reason: .tooSmall)))
      #expect(try decision(policy, "m", .firstMoment, .f32, [4095]) == small)
      #expect(try decision(policy, "m", .firstMoment, .f32, [4096]) != small)
    }
    let none = try #require(Policy.preset("lossless"))
    #expect(try decision(none, "exp_avg", .firstMoment) == lossless)
    #expect(Policy.preset("paper16") == nil)
    #expect(Policy.presetNames.allSatisfy { Policy.preset($0) != nil })
  }

  @Test func overridesReachEveryScheme() throws {
    let paper = try #require(Policy.preset("paper8"))
    let policy = paper.withAbsmaxScales().withStochasticRounding(seed: 7)
    for role in [Role.firstMoment, .secondMoment] {
      guard case .encode(let plan) = try decision(policy, "x", role), case .quantized(let scheme, _) = plan.encoding
      else {
        Issue.record("not quantized")
        continue
      }
      #expect(scheme.scaleRule == .absmax)
      #expect(scheme.rounding == .stochastic)
      #expect(scheme.seed == 7)
    }
  }

  // MARK: Documents

  @Test func everyPolicyReadsBackEqual() throws {
    var policies = Policy.presetNames.compactMap { Policy.preset($0) }
    policies += policies.map { $0.withAbsmaxScales() }
    policies += policies.map { $0.withStochasticRounding(seed: .max) } + policies.map { $0.keepingNonzero() }
    let table = [-1, -0.5] + (0..<14).map { Float($0) / 13 }
    policies.append(
      Policy(
        name: "all of it",
        rules: [
          .init(
            match: .init(
              name: try Glob("[a-z]*"), roles: [.other, .secondMoment], dtypes: [.f32, .bf16], minDims: 1, maxDims: 2,
              minElements: 3, maxElements: 4), action: .drop),
          .init(match: .init(), action: .lossless),
          .init(
            match: .init(),
            action: .quantize(
              Scheme(
                map: .custom, bits: 4, signed: true, scaling: .column,
                customTable: try MapTable(custom: table, signed: true, scaleRule: .absmax))), negativeFallsBack: true),
        ], minElements: 5))
    for policy in policies {
      let text = policy.json.serialized()
      let readBack = try Policy(json: JSONValue(parsing: text))
      #expect(readBack == policy)
      #expect(readBack.json.serialized() == text)
    }
  }

  @Test func defaultsOfASchemeFollowItsMapAndBits() throws {
    func scheme(_ text: String) throws -> Scheme { try Scheme(json: JSONValue(parsing: text)) }
    #expect(
      try scheme(#"{"map":"dynamic","bits":8}"#) == Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
    #expect(
      try scheme(#"{"map":"normal","bits":4}"#) == Scheme(map: .normal, bits: 4, signed: true, scaling: .block(128)))
    #expect(
      try scheme(#"{"map":"dynamic","bits":8,"signed":false}"#)
        == Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256), rounding: .nearestKeepNonzero))
    #expect(try scheme(#"{"map":"dynamic-nozero","bits":8}"#).signed == false)
    #expect(try scheme(#"{"map":"linear","bits":4,"block":32}"#).scaling == .block(32))
    #expect(
      try scheme(#"{"map":"linear","bits":4,"rounding":"stochastic","seed":"18446744073709551615"}"#).seed == .max)
  }

  @Test(arguments: [
    (#"[]"#, "policy"), (#"{}"#, "policy.rules"), (#"{"rules":{}}"#, "policy.rules"),
    (#"{"rules":[],"rule":1}"#, "policy.rule is unknown"), (#"{"rules":[],"name":1}"#, "policy.name"),
    (#"{"rules":[],"min_elements":-1}"#, "policy.min_elements"),
    (#"{"rules":[],"min_elements":1.5}"#, "policy.min_elements"), (#"{"rules":[1]}"#, "policy.rules[0]"),
    (#"{"rules":[{}]}"#, "policy.rules[0].action"), (#"{"rules":[{"action":"shrink"}]}"#, "policy.rules[0].action"),
    (#"{"rules":[{"action":"drop"},{"action":"drop","if":{}}]}"#, "policy.rules[1].if is unknown"),
    (#"{"rules":[{"action":"quantize"}]}"#, "policy.rules[0].scheme is missing"),
    (#"{"rules":[{"action":"drop","scheme":{"map":"linear","bits":8}}]}"#, "policy.rules[0].scheme"),
    (#"{"rules":[{"action":"lossless","negative":"error"}]}"#, "policy.rules[0].negative"),
    (#"{"rules":[{"action":"drop","match":{"nam":"x"}}]}"#, "policy.rules[0].match.nam is unknown"),
    (#"{"rules":[{"action":"drop","match":{"name":"[a"}}]}"#, "policy.rules[0].match.name"),
    (#"{"rules":[{"action":"drop","match":{"name":null}}]}"#, "policy.rules[0].match.name"),
    (#"{"rules":[{"action":"drop","match":{"role":"moment"}}]}"#, "policy.rules[0].match.role"),
    (#"{"rules":[{"action":"drop","match":{"role":[]}}]}"#, "policy.rules[0].match.role"),
    (#"{"rules":[{"action":"drop","match":{"dtype":["F32",1]}}]}"#, "policy.rules[0].match.dtype"),
    (#"{"rules":[{"action":"drop","match":{"dtype":"float32"}}]}"#, "policy.rules[0].match.dtype"),
    (#"{"rules":[{"action":"drop","match":{"min_dims":3,"max_dims":2}}]}"#, "policy.rules[0].match.min_dims"),
    (#"{"rules":[{"action":"drop","match":{"min_elements":3,"max_elements":2}}]}"#, "match.min_elements"),
  ])
  func malformedDocumentsAreRefusedWithTheirPlace(text: String, place: String) {
    let error = refusal(text)
    #expect(error?.code == .invalidPolicy)
    #expect(error?.message.contains(place) == true, "\(error?.message ?? "accepted")")
  }

  @Test(arguments: [
    (#"{"bits":8}"#, "map is missing"), (#"{"map":"quartic","bits":8}"#, "map is"), (#"{"map":"linear"}"#, "bits"),
    (#"{"map":"linear","bits":7}"#, "bits"), (#"{"map":"dynamic","bits":6}"#, "6-bit dynamic map"),
    (#"{"map":"linear","bits":8,"block":100}"#, "power of two"),
    (#"{"map":"linear","bits":8,"block":131072}"#, "power of two"),
    (#"{"map":"linear","bits":8,"block":9223372036854775807}"#, "power of two"),
    (#"{"map":"linear","bits":8,"scaling":"row","block":64}"#, "block"), (#"{"map":"normal","bits":8}"#, "normal"),
    (#"{"map":"normal","bits":4,"signed":false}"#, "normal"),
    (#"{"map":"log","bits":8,"signed":true}"#, "log map is unsigned"),
    (#"{"map":"log","bits":8,"scaling":"row"}"#, "log map has blocks"),
    (#"{"map":"log","bits":8,"rounding":"nearest-keep-nonzero"}"#, "log map"),
    (#"{"map":"log","bits":8,"scale_rule":"signed-extreme"}"#, "log map"),
    (#"{"map":"log","bits":8,"domain":"update"}"#, "update domain takes signed"),
    (#"{"map":"linear","bits":8,"signed":false,"domain":"update"}"#, "update"),
    (#"{"map":"linear","bits":8,"seed":1}"#, "seed"),
    (#"{"map":"linear","bits":8,"rounding":"stochastic","seed":"1e3"}"#, "seed"),
    (#"{"map":"linear","bits":8,"rounding":"unknown"}"#, "rounding"), (#"{"map":"custom","bits":4}"#, "table"),
    (#"{"map":"custom","bits":4,"table":[0,1]}"#, "table"), (#"{"map":"linear","bits":4,"table":[]}"#, "table"),
    (#"{"map":"linear","bits":8,"signed":"yes"}"#, "signed"), (#"{"map":"linear","bits":8,"blocks":64}"#, "blocks"),
    (#"{"map":"linear","bits":8,"scale_rule":"signed-extreme"}"#, "absmax"),
  ])
  func schemesThatNoTensorCouldHaveAreRefused(scheme: String, word: String) {
    let error = refusal(#"{"rules":[{"action":"quantize","scheme":"# + scheme + "}]}")
    #expect(error?.code == .invalidPolicy)
    #expect(error?.message.contains("policy.rules[0].scheme") == true)
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "accepted")")
  }
}
