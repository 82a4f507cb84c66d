import QCheckpoint
import QCodec

extension Policy {
  /// The schemes under which an optimizer keeps a parameter's moments: those of the policy's rules for the role of each, under
  /// the parameter's name and shape; float32 where they say lossless.
  ///
  /// `live8` and `live4` are made for it: embeddings and tensors under 4,096 elements keep 32-bit state. Throws
  /// `invalidPolicy` where a rule drops a moment, `limitExceeded` where an element count exceeds 64 bits.
  public func momentSchemes(
    of name: String, shape: [UInt64], under rule: OptimizerRule
  ) throws(QCodecError) -> StateLayout.Schemes {
    let has = rule.moments
    let isPair = has.first && has.second
    let first = try has.first ? plan(name, isPair ? .firstMoment : .momentum, shape) : nil
    let second = try has.second ? plan(name, .secondMoment, shape)?.scheme : nil
    // Without a second moment in a stream there is nothing to divide the first by.
    let isUpdate = first?.scheme.domain == .update && second == nil
    return StateLayout.Schemes(first: isUpdate ? first?.fallback : first?.scheme, second: second)
  }

  private func plan(
    _ name: String, _ role: Role, _ shape: [UInt64]
  ) throws(QCodecError) -> (scheme: Scheme, fallback: Scheme?)? {
    guard case .encode(let plan) = try decide(name: name, role: role, dtype: .f32, shape: shape) else {
      throw QCodecError(.invalidPolicy, "the policy drops what an optimizer needs", tensor: name)
    }
    guard case .quantized(let scheme, _) = plan.encoding else { return nil }
    return (scheme, plan.fallback)
  }
}
