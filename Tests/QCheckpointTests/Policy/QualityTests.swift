import QCodec
import Testing

@testable import QCheckpoint

@Suite("The preset adamq and steps in policies")
struct QualityTests {
  private func policy(_ rule: String) throws(QCodecError) -> Policy {
    try Policy(json: JSONValue(parsing: #"{"rules": [{"action": "quantize", \#(rule)}]}"#))
  }

  @Test("Both moments share the squared error that is aimed at", arguments: [0.001, 0.02, 0.1, 0.14])
  func steps(quality: Double) throws {
    let policy = Policy.adamq(quality: quality)
    guard case .rms(let first)? = policy.rules[0].step, case .octaves(let second)? = policy.rules[1].step,
      case .rms(let momentum)? = policy.rules[2].step
    else { return #expect(Bool(false)) }
    // Uniform errors: a step over √12; an octave of v is ln 2 / 2 of √v.
    let halves = (first * first / 12, (second * 0.5 * 0.6931471805599453) * (second * 0.5 * 0.6931471805599453) / 12)
    #expect((halves.0 / (quality * quality) - 0.5).magnitude < 1e-9)
    #expect((halves.1 / (quality * quality) - 0.5).magnitude < 1e-9)
    #expect((momentum - quality * 12.0.squareRoot()).magnitude < 1e-12)
    #expect(policy.rules.allSatisfy { $0.compression == .zstd })
  }

  @Test("Above an octave of v the first moment takes the rest")
  func coarse() {
    let policy = Policy.adamq(quality: 0.25)
    #expect(policy.rules[1].step == .octaves(1))
    guard case .rms(let step)? = policy.rules[0].step else { return #expect(Bool(false)) }
    #expect((step * step / 12 + 0.1201132534 / 12 - 0.0625).magnitude < 1e-9)
  }

  @Test("Names state a quality")
  func names() throws {
    #expect(Policy.preset("adamq") == Policy.adamq(quality: 0.1))
    #expect(Policy.preset("adamq:0.05") == Policy.adamq(quality: 0.05))
    #expect(Policy.adamq(quality: 0.05).name == "adamq:0.05")
    for name in ["adamq:", "adamq:0.7", "adamq:0.0009", "adamq:nan", "adamq:x", "adamq:-0.1", "adam8:0.1"] {
      #expect(Policy.preset(name) == nil, "\(name)")
    }
    let extended = try Policy(json: JSONValue(parsing: #"{"extends": "adamq:0.02"}"#))
    #expect(extended.rules == Policy.adamq(quality: 0.02).rules)
  }

  @Test("Steps are read as they are written")
  func document() throws {
    for text in [
      #""scheme": {"map": "linear", "bits": 8}, "step": {"rms": 0.3}"#,
      #""scheme": {"map": "linear", "bits": 8, "scaling": "tensor"}, "step": {"absolute": 1}"#,
      #""scheme": {"map": "log", "bits": 8}, "step": {"octaves": 0.62}"#,
    ] {
      let policy = try policy(text)
      #expect(policy.rules[0].step != nil)
      #expect(try Policy(json: policy.json) == policy)
    }
    #expect(try policy(#""scheme": {"map": "log", "bits": 8}"#).rules[0].step == nil)
  }

  @Test("Mistakes in steps name their place")
  func mistakes() {
    let linear = #""scheme": {"map": "linear", "bits": 8}"#
    for (text, message) in [
      (#"\#(linear), "step": 0.3"#, "policy.rules[0].step"), (#"\#(linear), "step": {}"#, "policy.rules[0].step"),
      (#"\#(linear), "step": {"rms": 1, "absolute": 1}"#, "policy.rules[0].step"),
      (#"\#(linear), "step": {"rms": "1"}"#, "policy.rules[0].step.rms"),
      (#"\#(linear), "step": {"sigma": 1}"#, "policy.rules[0].step.sigma"),
      (#"\#(linear), "step": {"rms": 0}"#, "policy.rules[0].step does not serve"),
      (#"\#(linear), "step": {"octaves": 1}"#, "policy.rules[0].step does not serve"),
      (#""scheme": {"map": "cubic", "bits": 8}, "step": {"rms": 1}"#, "policy.rules[0].step does not serve"),
    ] {
      let error = inputError { _ = try policy(text) }
      #expect(
        error?.code == .invalidPolicy && error?.message.hasPrefix(message) == true,
        "\(text): \(String(describing: error))")
    }
    let error = inputError {
      _ = try Policy(json: JSONValue(parsing: #"{"rules": [{"action": "lossless", "step": {"rms": 1}}]}"#))
    }
    #expect(error?.message == "policy.rules[0].step belongs to the action quantize alone")
  }

  @Test("A first moment without a partner, and a momentum, have steps of their own root mean square")
  func fallback() throws {
    let names = ["a.exp_avg", "b.momentum_buffer", "c.exp_avg_sq"]
    let plans = try Policy.adamq().plan(names.map { TensorSummary(name: $0, dtype: .f32, shape: [5000]) })
    let steps = plans.map(\.decision.plan?.step)
    let policy = Policy.adamq()
    #expect(steps == [policy.rules[0].step, policy.rules[2].step, policy.rules[1].step])
    guard case .quantized(let scheme, .noSecondMoment)? = plans[0].decision.plan?.encoding else {
      return #expect(Bool(false))
    }
    #expect(scheme == Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256)))
    // A step of another unit is not that of the value domain, and dynamic maps have none.
    #expect(QuantizationStep.absolute(1).ofFallback(scheme) == nil)
    #expect(
      QuantizationStep.rms(1).ofFallback(Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(64))) == nil)
  }
}
