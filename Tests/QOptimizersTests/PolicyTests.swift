import QCheckpoint
import QCodec
import QOptimizers
import Testing

@Suite("Schemes of moments by policy")
struct MomentPolicyTests {
  private func schemes(
    _ preset: String, _ name: String, _ shape: [UInt64], _ rule: OptimizerRule = .adam(.init())
  ) throws -> StateLayout.Schemes {
    try #require(Policy.preset(preset)).momentSchemes(of: name, shape: shape, under: rule)
  }

  @Test("Embeddings and small tensors keep 32-bit state", arguments: ["live8", "live4"])
  func exceptions(preset: String) throws {
    let bits = preset == "live8" ? 8 : 4
    let usual = try schemes(preset, "layers.0.weight", [64, 64])
    #expect(usual.first?.bits == bits && usual.second?.bits == bits && usual.second?.map == .log)
    #expect(try schemes(preset, "layers.0.bias", [4095]) == .init())
    for name in ["wte.weight", "tok_embeddings.weight", "model.embed_tokens.weight", "params/Embed_0/embedding"] {
      #expect(try schemes(preset, name, [64, 64]) == .init(), "\(name)")
    }
    for name in ["member.weight", "unembedder.weight", "wterm.weight", ""] {
      #expect(try schemes(preset, name, [64, 64]) == usual, "\(name)")
    }
  }

  @Test("A rule has the moments that it has")
  func rules() throws {
    let momentum = try schemes("live8", "w", [4096], .sgd(.init()))
    #expect(momentum.first?.map == .dynamic && momentum.second == nil)
    #expect(try schemes("live8", "w", [4096], .adagrad(.init())).first == nil)
    // Where there is nothing to divide by, a momentum is in the value domain.
    let pair = try schemes("adam8", "w", [4096])
    #expect(pair.first?.domain == .update && pair.second?.map == .log)
    #expect(try schemes("adam8", "w", [4096], .lion(.init())).first?.domain == .value)
    for rule in [OptimizerRule.adam(.init()), .lion(.init()), .lamb(.init())] {
      _ = try StateLayout(rule: rule, shape: [4096], schemes: schemes("adam8", "w", [4096], rule))
    }
  }

  @Test("Without a stream of the second moment the first is in the value domain")
  func withoutSecond() throws {
    let text = #"{"extends": "adam8", "rules": [{"match": {"role": "second_moment"}, "action": "lossless"}]}"#
    let policy = try Policy(json: JSONValue(parsing: text))
    let found = try policy.momentSchemes(of: "w", shape: [4096], under: .adam(.init()))
    #expect(found.first?.domain == .value && found.second == nil)
  }

  @Test("A policy that drops a moment is refused")
  func drops() throws {
    let text = #"{"extends": "live8", "drop": "*"}"#
    let policy = try Policy(json: JSONValue(parsing: text))
    #expect { try policy.momentSchemes(of: "w", shape: [4096], under: .lion(.init())) } throws: {
      ($0 as? QCodecError)?.code == .invalidPolicy && ($0 as? QCodecError)?.tensor == "w"
    }
  }
}
