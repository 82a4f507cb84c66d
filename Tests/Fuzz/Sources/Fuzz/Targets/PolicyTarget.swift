import QCheckpoint
import QCodec

/// JSON documents, and the policies and schemes that they hold.
enum PolicyTarget {
  private static let tensors = [
    tensor("exp_avg.0", .f32, [64, 64]), tensor("exp_avg_sq.0", .f32, [64, 64]),
    tensor("m", .bf16, [4096], .firstMoment), tensor("v", .f16, [4096], .secondMoment),
    tensor("embed.weight", .f32, [100, 300], .parameter), tensor("step", .i64, []),
    tensor("state/mu/ω", .f32, [5000]), tensor("state/nu/ω", .f32, [5000]),
    tensor("none", .f32, [0, 1 << 40], .momentum),
  ]

  private static func tensor(
    _ name: String, _ dtype: DType, _ shape: [UInt64], _ role: Role = .other
  ) -> TensorSummary {
    TensorSummary(name: name, dtype: dtype, shape: shape, role: role)
  }

  static func run(_ input: [UInt8]) -> Bool {
    guard let document = outcome({ () throws(QCodecError) in try JSONValue(parsing: input) }).value else { return true }
    for isPretty in [false, true] {
      let again = outcome { () throws(QCodecError) in try JSONValue(parsing: document.serialized(pretty: isPretty)) }
      require(again.value == document, "a document changes when it is written again")
    }
    tolerate { () throws(QCodecError) in
      let scheme = try Scheme(json: document)
      require(outcome { () throws(QCodecError) in try Scheme(json: scheme.json) }.value == scheme, "a scheme changes")
    }
    guard let policy = outcome({ () throws(QCodecError) in try Policy(json: document) }).value else { return true }
    require(outcome { () throws(QCodecError) in try Policy(json: policy.json) }.value == policy, "a policy changes")
    let plan = outcome { () throws(QCodecError) in try policy.plan(tensors) }
    require(plan.value?.count == tensors.count, "no plan: \(plan)")
    for variant in [policy.withAbsmaxScales(), policy.withStochasticRounding(seed: 7), policy.keepingNonzero()] {
      tolerate { () throws(QCodecError) in _ = try variant.plan(tensors) }
    }
    _ = outcome { () throws(QCodecError) in try SafetensorsIndex(document: document, folder: "/nowhere/") }
    return true
  }
}
