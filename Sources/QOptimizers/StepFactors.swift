import CQCodecKernels
import QCodec

/// What a step is besides its rule.
public struct StepSettings: Sendable, Hashable {
  /// The step's number, from 1 on.
  public var number: UInt64
  /// What gradients are multiplied by: the inverse of a loss scale, the factor of clipping.
  public var gradientFactor = 1.0
  /// Whether the objective is to be maximized.
  public var isMaximizing = false
  /// Whether `OptimizerRule.check` has looked over these tensors as they are, with a factor no smaller.
  public var isChecked = false

  /// The settings of a step with gradients as they are.
  public init(number: UInt64) { self.number = number }
}

extension OptimizerRule {
  /// The factors of a step, each computed in float64 and rounded once.
  ///
  /// Throws `invalidArgument` for settings that no step can have.
  func factors(_ settings: StepSettings) throws(QCodecError) -> qcodec_step {
    guard settings.number > 0, settings.gradientFactor.isFinite else {
      throw QCodecError(.invalidArgument, "step \(settings.number) with gradients times \(settings.gradientFactor)")
    }
    var step = qcodec_step()
    step.gradient_factor = Float(settings.isMaximizing ? -settings.gradientFactor : settings.gradientFactor)
    (step.kept, step.first_factor, step.root_factor, step.trust) = (1, 1, 1, 1)
    switch self {
    case .adam(let adam): try adam.fill(&step, settings.number)
    case .sgd(let sgd): try sgd.fill(&step, settings.number)
    case .lion(let lion): try lion.fill(&step)
    case .adagrad(let adagrad): try adagrad.fill(&step, settings.number)
    case .rmsprop(let rmsprop): try rmsprop.fill(&step)
    case .lamb(let lamb): try lamb.fill(&step, settings.number)
    case .lars(let lars): try lars.fill(&step, settings.number)
    }
    return step
  }
}

/// Throws `invalidArgument` for a setting outside its range.
private func require(
  _ settings: (name: String, value: Double)..., in range: ClosedRange<Double> = 0...Double.greatestFiniteMagnitude
) throws(QCodecError) {
  if let wrong = settings.first(where: { !range.contains($0.value) }) {
    throw QCodecError(.invalidArgument, "a \(wrong.name) of \(wrong.value)")
  }
}

/// β below 1: at 1 nothing would ever enter.
private let shares: ClosedRange<Double> = 0...1.0.nextDown

extension qcodec_step {
  fileprivate mutating func average(_ beta1: Double, _ beta2: Double) throws(QCodecError) {
    try require(("β1", beta1), ("β2", beta2), in: shares)
    (self.beta1, rest1) = (Float(beta1), Float(1 - beta1))
    (self.beta2, rest2) = (Float(beta2), Float(1 - beta2))
  }
}

extension OptimizerRule.Adam {
  fileprivate func fill(_ step: inout qcodec_step, _ number: UInt64) throws(QCodecError) {
    try require(("learning rate", learningRate), ("ε", epsilon), ("weight decay", weightDecay))
    try step.average(beta1, beta2)
    step.rule = Int32(qcodec_optimizer_adam)
    if isDecoupled {
      step.kept = Float(1 - learningRate * weightDecay)
    } else {
      step.coupled_decay = Float(weightDecay)
    }
    step.rate = Float(learningRate / correction(beta1, number))
    step.root_factor = Float(1 / correction(beta2, number).squareRoot())
    step.epsilon = Float(epsilon)
  }
}

/// 1 − β^t: what an average of t values that began at zero lacks.
private func correction(_ beta: Double, _ number: UInt64) -> Double {
  var (power, base, rest) = (1.0, beta, number)
  // By squaring: the same bits on every machine, whose libraries' powers may differ.
  while rest > 0 {
    if rest & 1 == 1 { power *= base }
    base *= base
    rest >>= 1
  }
  return 1 - power
}

extension OptimizerRule.SGD {
  fileprivate func fill(_ step: inout qcodec_step, _ number: UInt64) throws(QCodecError) {
    try require(("learning rate", learningRate), ("momentum", momentum), ("weight decay", weightDecay))
    try require(("dampening", dampening), in: 0...1)
    guard !isNesterov || (momentum > 0 && dampening == 0) else {
      throw QCodecError(.invalidArgument, "Nesterov's momentum needs a momentum and no dampening")
    }
    step.rule = Int32(qcodec_optimizer_sgd)
    step.coupled_decay = Float(weightDecay)
    // The first gradient is the momentum.
    (step.beta1, step.rest1) = number == 1 || momentum == 0 ? (0, 1) : (Float(momentum), Float(1 - dampening))
    if isNesterov { (step.first_factor, step.gradient_share) = (Float(momentum), 1) }
    step.rate = Float(learningRate)
  }
}

extension OptimizerRule.Lion {
  fileprivate func fill(_ step: inout qcodec_step) throws(QCodecError) {
    try require(("learning rate", learningRate), ("weight decay", weightDecay))
    try step.average(beta1, beta2)
    step.rule = Int32(qcodec_optimizer_lion)
    step.kept = Float(1 - learningRate * weightDecay)
    step.rate = Float(learningRate)
  }
}

extension OptimizerRule.Adagrad {
  fileprivate func fill(_ step: inout qcodec_step, _ number: UInt64) throws(QCodecError) {
    try require(
      ("learning rate", learningRate), ("learning rate decay", learningRateDecay), ("weight decay", weightDecay),
      ("ε", epsilon))
    step.rule = Int32(qcodec_optimizer_adagrad)
    step.coupled_decay = Float(weightDecay)
    step.rate = Float(learningRate / (1 + Double(number - 1) * learningRateDecay))
    step.epsilon = Float(epsilon)
  }
}

extension OptimizerRule.RMSprop {
  fileprivate func fill(_ step: inout qcodec_step) throws(QCodecError) {
    try require(("learning rate", learningRate), ("momentum", momentum), ("weight decay", weightDecay), ("ε", epsilon))
    try step.average(0, alpha)
    step.rule = Int32(qcodec_optimizer_rmsprop)
    step.beta1 = Float(momentum)
    step.coupled_decay = Float(weightDecay)
    step.rate = Float(learningRate)
    step.epsilon = Float(epsilon)
  }
}

extension OptimizerRule.LAMB {
  fileprivate func fill(_ step: inout qcodec_step, _ number: UInt64) throws(QCodecError) {
    try require(("learning rate", learningRate), ("weight decay", weightDecay), ("ε", epsilon))
    try step.average(beta1, beta2)
    step.rule = Int32(qcodec_optimizer_lamb)
    step.decay = Float(weightDecay)
    step.first_factor = Float(1 / correction(beta1, number))
    step.root_factor = Float(1 / correction(beta2, number).squareRoot())
    step.rate = Float(learningRate)
    step.epsilon = Float(epsilon)
  }
}

extension OptimizerRule.LARS {
  fileprivate func fill(_ step: inout qcodec_step, _ number: UInt64) throws(QCodecError) {
    try require(
      ("learning rate", learningRate), ("momentum", momentum), ("weight decay", weightDecay),
      ("trust coefficient", trustCoefficient), ("ε", epsilon))
    step.rule = Int32(qcodec_optimizer_sgd)
    step.coupled_decay = Float(weightDecay)
    (step.beta1, step.rest1) = (number == 1 ? 0 : Float(momentum), 1)
    step.rate = Float(learningRate)
  }
}

extension OptimizerRule {
  /// The factors of a tensor of which the squared lengths are known: of its parameters, and of its gradient (LARS) or
  /// direction (LAMB). A tensor or direction without length goes at the rate as it is.
  func scaled(_ step: qcodec_step, parameters: Double, other: Double) -> qcodec_step {
    var step = step
    let (p, length) = (parameters.squareRoot(), other.squareRoot())
    guard p > 0, length > 0 else { return step }
    switch self {
    case .lamb: step.rate = Float(Double(step.rate) * p / length)
    case .lars(let lars):
      let gradient = length * Double(step.gradient_factor.magnitude)
      step.trust = Float(lars.trustCoefficient * p / (gradient + lars.weightDecay * p + lars.epsilon))
    default: break
    }
    return step
  }
}
