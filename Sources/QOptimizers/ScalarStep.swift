import CQCodecKernels

/// One element's step: the reference, which every kernel equals bit for bit. Formulas are those of `qcodec_step`.
struct ScalarStep {
  var parameter: Float
  var gradient: Float
  var first: Float
  var second: Float
  /// nil where the rule keeps none.
  var greatest: Float?

  private func denominator(_ second: Float, _ s: qcodec_step) -> Float {
    second.squareRoot() * s.root_factor + s.epsilon
  }

  /// The direction of LAMB, before its length is set.
  func lambDirection(_ s: qcodec_step) -> Float {
    first * s.first_factor / denominator(second, s) + parameter * s.decay
  }

  mutating func moveMoments(_ s: qcodec_step) {
    gradient = gradient * s.gradient_factor + parameter * s.coupled_decay
    switch s.rule {
    case Int32(qcodec_optimizer_adam), Int32(qcodec_optimizer_lamb):
      first = first * s.beta1 + gradient * s.rest1
      if s.second_is_given == 0 { second = second * s.beta2 + gradient * gradient * s.rest2 }
      if let kept = greatest { greatest = kept > second ? kept : second }
    case Int32(qcodec_optimizer_rmsprop):
      second = second * s.beta2 + gradient * gradient * s.rest2
      gradient = gradient / denominator(second, s)
      first = first * s.beta1 + gradient
    case Int32(qcodec_optimizer_adagrad): second = second + gradient * gradient
    case Int32(qcodec_optimizer_sgd):
      gradient = gradient * s.trust
      first = first * s.beta1 + gradient * s.rest1
    default: break
    }
  }

  mutating func moveParameter(_ s: qcodec_step) {
    let kept = parameter * s.kept
    switch s.rule {
    case Int32(qcodec_optimizer_adam): parameter = kept - first * s.rate / denominator(greatest ?? second, s)
    case Int32(qcodec_optimizer_lamb): parameter = kept - lambDirection(s) * s.rate
    case Int32(qcodec_optimizer_rmsprop): parameter = kept - first * s.rate
    case Int32(qcodec_optimizer_adagrad): parameter = kept - gradient * s.rate / denominator(second, s)
    case Int32(qcodec_optimizer_sgd):
      parameter = kept - (first * s.first_factor + gradient * s.gradient_share) * s.rate
    case Int32(qcodec_optimizer_lion):
      let direction = first * s.beta1 + gradient * s.rest1
      let sign: Float = direction == 0 ? 0 : direction.sign == .minus ? -1 : 1
      parameter = kept - sign * s.rate
      first = first * s.beta2 + gradient * s.rest2
    default: break
    }
  }
}
