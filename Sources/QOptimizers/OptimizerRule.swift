/// The rule by which an optimizer moves parameters, with its settings; the defaults are PyTorch's.
///
/// A rule is a value: a schedule changes `learningRate` and the like between steps.
public enum OptimizerRule: Sendable, Hashable {
  /// Adam and AdamW, with or without AMSGrad.
  case adam(Adam)
  /// Stochastic gradient descent with momentum.
  case sgd(SGD)
  /// Lion.
  case lion(Lion)
  /// Adagrad.
  case adagrad(Adagrad)
  /// RMSprop.
  case rmsprop(RMSprop)
  /// LAMB.
  case lamb(LAMB)
  /// LARS.
  case lars(LARS)

  /// Which moments a tensor has under the rule: the first, the second, and the greatest second moment so far.
  public var moments: (first: Bool, second: Bool, greatest: Bool) {
    switch self {
    case .adam(let adam): (true, true, adam.isAMSGrad)
    case .sgd(let sgd): (sgd.momentum != 0, false, false)
    case .lion: (true, false, false)
    case .adagrad: (false, true, false)
    case .rmsprop(let rmsprop): (rmsprop.momentum != 0, true, false)
    case .lamb: (true, true, false)
    case .lars(let lars): (lars.momentum != 0, false, false)
    }
  }

  /// Whether a step needs the lengths of whole tensors before anything moves.
  var needsNorms: Bool {
    switch self {
    case .lamb, .lars: true
    default: false
    }
  }
}

extension OptimizerRule {
  /// Adam (Kingma and Ba, arXiv:1412.6980), by default with decoupled weight decay: AdamW (Loshchilov and Hutter,
  /// arXiv:1711.05101).
  public struct Adam: Sendable, Hashable {
    /// The learning rate, α.
    public var learningRate = 1e-3
    /// How much of the first moment a step keeps.
    public var beta1 = 0.9
    /// How much of the second moment a step keeps.
    public var beta2 = 0.999
    /// What is added to the root of the second moment.
    public var epsilon = 1e-8
    /// How much of a parameter a step takes away, times the learning rate.
    public var weightDecay = 1e-2
    /// Whether weight decay acts on parameters (AdamW) rather than on gradients (Adam).
    public var isDecoupled = true
    /// Whether parameters go by the greatest second moment so far (Reddi et al., arXiv:1904.09237).
    public var isAMSGrad = false

    /// AdamW with PyTorch's defaults.
    public init() {}
  }

  /// Stochastic gradient descent with momentum, and Nesterov's.
  public struct SGD: Sendable, Hashable {
    /// The learning rate.
    public var learningRate = 1e-3
    /// How much of the momentum a step keeps; 0 for none, which has no state.
    public var momentum = 0.9
    /// How much of a gradient does not enter the momentum, but for the first.
    public var dampening = 0.0
    /// L2 weight decay, added to gradients.
    public var weightDecay = 0.0
    /// Whether parameters go by the momentum of the step that follows.
    public var isNesterov = false

    /// Descent with a momentum of 0.9.
    public init() {}
  }

  /// Lion (Chen et al., arXiv:2302.06675).
  public struct Lion: Sendable, Hashable {
    /// The learning rate: what each parameter moves by.
    public var learningRate = 1e-4
    /// How much of the moment there is in the direction.
    public var beta1 = 0.9
    /// How much of the moment a step keeps.
    public var beta2 = 0.99
    /// Decoupled weight decay.
    public var weightDecay = 0.0

    /// Lion with its authors' defaults.
    public init() {}
  }

  /// Adagrad (Duchi, Hazan and Singer, 2011).
  public struct Adagrad: Sendable, Hashable {
    /// The learning rate.
    public var learningRate = 1e-2
    /// How the learning rate falls: it is divided by 1 + (step − 1) times this.
    public var learningRateDecay = 0.0
    /// What is added to the root of the sum.
    public var epsilon = 1e-10
    /// L2 weight decay, added to gradients.
    public var weightDecay = 0.0

    /// Adagrad with PyTorch's defaults.
    public init() {}
  }

  /// RMSprop (Tieleman and Hinton, 2012), not centered.
  public struct RMSprop: Sendable, Hashable {
    /// The learning rate.
    public var learningRate = 1e-2
    /// How much of the second moment a step keeps, α.
    public var alpha = 0.99
    /// What is added to the root of the second moment.
    public var epsilon = 1e-8
    /// L2 weight decay, added to gradients.
    public var weightDecay = 0.0
    /// How much of the momentum a step keeps; 0 for none.
    public var momentum = 0.0

    /// RMSprop with PyTorch's defaults.
    public init() {}
  }

  /// LAMB (You et al., arXiv:1904.00962): Adam's direction, whose length is that of the parameters.
  public struct LAMB: Sendable, Hashable {
    /// The learning rate.
    public var learningRate = 1e-3
    /// How much of the first moment a step keeps.
    public var beta1 = 0.9
    /// How much of the second moment a step keeps.
    public var beta2 = 0.999
    /// What is added to the root of the second moment.
    public var epsilon = 1e-6
    /// Weight decay, part of the direction.
    public var weightDecay = 1e-2

    /// LAMB with its authors' defaults.
    public init() {}
  }

  /// LARS (You, Gitman and Ginsburg, arXiv:1708.03888): gradients whose length is that of the parameters, and momentum.
  public struct LARS: Sendable, Hashable {
    /// The learning rate.
    public var learningRate = 1e-1
    /// How much of the momentum a step keeps; 0 for none.
    public var momentum = 0.9
    /// L2 weight decay, added to gradients.
    public var weightDecay = 0.0
    /// The length of a gradient relative to that of the parameters, η.
    public var trustCoefficient = 1e-3
    /// What is added to the length of a gradient.
    public var epsilon = 1e-8

    /// LARS with a trust coefficient of 0.001.
    public init() {}
  }
}
