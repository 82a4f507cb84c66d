// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCodec
import QOptimizers

@c @implementation public func qcodec_step_options_init(
  _ options: UnsafeMutablePointer<qcodec_step_options>?, _ rule: Int32
) {
  var made = qcodec_step_options()
  made.struct_size = MemoryLayout<qcodec_step_options>.size
  made.rule = rule
  made.step = 1
  made.gradient_factor = 1
  switch rule {
  case Int32(QCODEC_ADAM.rawValue): made.set(OptimizerRule.Adam())
  case Int32(QCODEC_SGD.rawValue):
    let sgd = OptimizerRule.SGD()
    (made.learning_rate, made.momentum) = (sgd.learningRate, sgd.momentum)
  case Int32(QCODEC_LION.rawValue):
    let lion = OptimizerRule.Lion()
    (made.learning_rate, made.beta1, made.beta2) = (lion.learningRate, lion.beta1, lion.beta2)
  case Int32(QCODEC_ADAGRAD.rawValue):
    let adagrad = OptimizerRule.Adagrad()
    (made.learning_rate, made.epsilon) = (adagrad.learningRate, adagrad.epsilon)
  case Int32(QCODEC_RMSPROP.rawValue):
    let rmsprop = OptimizerRule.RMSprop()
    (made.learning_rate, made.alpha, made.epsilon) = (rmsprop.learningRate, rmsprop.alpha, rmsprop.epsilon)
  case Int32(QCODEC_LAMB.rawValue):
    let lamb = OptimizerRule.LAMB()
    (made.learning_rate, made.beta1, made.beta2) = (lamb.learningRate, lamb.beta1, lamb.beta2)
    (made.epsilon, made.weight_decay) = (lamb.epsilon, lamb.weightDecay)
  case Int32(QCODEC_LARS.rawValue):
    let lars = OptimizerRule.LARS()
    (made.learning_rate, made.momentum, made.epsilon) = (lars.learningRate, lars.momentum, lars.epsilon)
    made.trust_coefficient = lars.trustCoefficient
  default: return
  }
  unsafe options?.pointee = made
}

extension qcodec_step_options {
  fileprivate mutating func set(_ adam: OptimizerRule.Adam) {
    (learning_rate, beta1, beta2) = (adam.learningRate, adam.beta1, adam.beta2)
    (epsilon, weight_decay, is_decoupled) = (adam.epsilon, adam.weightDecay, 1)
  }

  /// The rule with its settings; throws `invalidArgument` for one that is none.
  fileprivate func optimizerRule() throws(QCodecError) -> OptimizerRule {
    switch rule {
    case Int32(QCODEC_ADAM.rawValue):
      var adam = OptimizerRule.Adam()
      (adam.learningRate, adam.beta1, adam.beta2) = (learning_rate, beta1, beta2)
      (adam.epsilon, adam.weightDecay) = (epsilon, weight_decay)
      (adam.isDecoupled, adam.isAMSGrad) = (is_decoupled != 0, is_amsgrad != 0)
      return .adam(adam)
    case Int32(QCODEC_SGD.rawValue):
      var sgd = OptimizerRule.SGD()
      (sgd.learningRate, sgd.momentum, sgd.dampening) = (learning_rate, momentum, dampening)
      (sgd.weightDecay, sgd.isNesterov) = (weight_decay, is_nesterov != 0)
      return .sgd(sgd)
    case Int32(QCODEC_LION.rawValue):
      var lion = OptimizerRule.Lion()
      (lion.learningRate, lion.beta1, lion.beta2, lion.weightDecay) = (learning_rate, beta1, beta2, weight_decay)
      return .lion(lion)
    case Int32(QCODEC_ADAGRAD.rawValue):
      var adagrad = OptimizerRule.Adagrad()
      (adagrad.learningRate, adagrad.learningRateDecay) = (learning_rate, learning_rate_decay)
      (adagrad.epsilon, adagrad.weightDecay) = (epsilon, weight_decay)
      return .adagrad(adagrad)
    case Int32(QCODEC_RMSPROP.rawValue):
      var rmsprop = OptimizerRule.RMSprop()
      (rmsprop.learningRate, rmsprop.alpha, rmsprop.epsilon) = (learning_rate, alpha, epsilon)
      (rmsprop.weightDecay, rmsprop.momentum) = (weight_decay, momentum)
      return .rmsprop(rmsprop)
    case Int32(QCODEC_LAMB.rawValue):
      var lamb = OptimizerRule.LAMB()
      (lamb.learningRate, lamb.beta1, lamb.beta2) = (learning_rate, beta1, beta2)
      (lamb.epsilon, lamb.weightDecay) = (epsilon, weight_decay)
      return .lamb(lamb)
    case Int32(QCODEC_LARS.rawValue):
      var lars = OptimizerRule.LARS()
      (lars.learningRate, lars.momentum, lars.weightDecay) = (learning_rate, momentum, weight_decay)
      (lars.trustCoefficient, lars.epsilon) = (trust_coefficient, epsilon)
      return .lars(lars)
    default: throw invalid("\(rule) is no rule")
    }
  }

  fileprivate var settings: StepSettings {
    var settings = StepSettings(number: step)
    (settings.gradientFactor, settings.isMaximizing) = (gradient_factor, is_maximizing != 0)
    settings.isChecked = is_checked != 0
    return settings
  }
}

/// The options of a call; throws `invalidArgument` for NULL and for what qcodec_step_options_init did not set.
private func options(
  _ options: UnsafePointer<qcodec_step_options>?
) throws(QCodecError) -> (rule: OptimizerRule, settings: StepSettings) {
  guard let options = unsafe options else { throw invalid("options is NULL") }
  guard unsafe options.pointee.struct_size == MemoryLayout<qcodec_step_options>.size else {
    throw invalid("options were not set by qcodec_step_options_init")
  }
  return unsafe (try options.pointee.optimizerRule(), options.pointee.settings)
}

extension qcodec_optimizer_tensor {
  fileprivate func layout(_ rule: OptimizerRule) throws(QCodecError) -> StateLayout {
    try unsafe StateLayout(
      rule: rule, shape: QCodecABI.shape(shape, dims),
      schemes: .init(
        first: first_scheme == nil ? nil : scheme(first_scheme),
        second: second_scheme == nil ? nil : scheme(second_scheme), isSecondFactored: second_is_factored != 0))
  }

  fileprivate func moments() throws(QCodecError) -> [UnsafeMutableRawBufferPointer] {
    try unsafe [
      room(first, first_size, "first"), room(second, second_size, "second"),
      room(greatest, greatest_size, "greatest"),
    ]
  }

  fileprivate func tensor(_ rule: OptimizerRule) throws(QCodecError) -> OptimizerTensor {
    let layout = try unsafe layout(rule)
    let (own, other) = try unsafe (elementType(parameter_dtype), elementType(gradient_dtype))
    // What such a type takes is found out below; here sizes are to fit.
    let sizes = (layout.elementCount * (own.bitWidth / 8), layout.elementCount * (other.bitWidth / 8))
    return try unsafe OptimizerTensor(
      name: name == nil ? "" : text(name, "a tensor's name"), layout: layout,
      parameters: room(parameters, sizes.0, "parameters"), own,
      gradients: bytes(gradients, sizes.1, "gradients"), other, moments: moments())
  }
}

private func tensor(
  _ tensor: UnsafePointer<qcodec_optimizer_tensor>?
) throws(QCodecError) -> qcodec_optimizer_tensor {
  guard let tensor = unsafe tensor else { throw invalid("tensor is NULL") }
  return unsafe tensor.pointee
}

@c @implementation public func qcodec_moment_sizes(
  _ choice: UnsafePointer<qcodec_step_options>?, _ place: UnsafePointer<qcodec_optimizer_tensor>?,
  _ sizes: UnsafeMutablePointer<Int>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    guard let sizes = unsafe sizes else { throw invalid("sizes is NULL") }
    let counts = try unsafe tensor(place).layout(options(choice).rule).byteCounts
    for index in 0..<3 { unsafe sizes[index] = counts[index] }
  }
}

@c @implementation public func qcodec_policy_moment_schemes(
  _ policy: OpaquePointer?, _ choice: UnsafePointer<qcodec_step_options>?,
  _ place: UnsafePointer<qcodec_optimizer_tensor>?, _ first: UnsafeMutablePointer<OpaquePointer?>?,
  _ second: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    guard let second = unsafe second else { throw invalid("the place for a handle is NULL") }
    unsafe second.pointee = nil
    try unsafe give(first) { () throws(QCodecError) in
      let tensor = try unsafe tensor(place)
      let schemes = try unsafe object(policy, PolicyBox.self, "policy").policy.momentSchemes(
        of: tensor.name == nil ? "" : text(tensor.name, "a tensor's name"), shape: shape(tensor.shape, tensor.dims),
        under: options(choice).rule)
      try unsafe give(second) { schemes.second.map(SchemeBox.init) }
      return schemes.first.map(SchemeBox.init)
    }
  }
}

@c @implementation public func qcodec_moments_clear(
  _ choice: UnsafePointer<qcodec_step_options>?, _ place: UnsafePointer<qcodec_optimizer_tensor>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let tensor = try unsafe tensor(place)
    try unsafe tensor.layout(options(choice).rule).clear(tensor.moments())
  }
}

@c @implementation public func qcodec_optimizer_step(
  _ choice: UnsafePointer<qcodec_step_options>?, _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int,
  _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let options = try unsafe options(choice)
    try unsafe step(options.rule, options.settings, tensors, count, threads)
  }
}

@c @implementation public func qcodec_optimizer_check(
  _ choice: UnsafePointer<qcodec_step_options>?, _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int,
  _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let options = try unsafe options(choice)
    let given = try unsafe optimized(options.rule, tensors, count)
    try options.rule.check(given, options.settings, threads: threadCount(threads))
  }
}

private func step(
  _ rule: OptimizerRule, _ settings: StepSettings, _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int,
  _ threads: Int32
) throws(QCodecError) {
  try rule.step(unsafe optimized(rule, tensors, count), settings, threads: threadCount(threads))
}

/// The tensors of a call.
private func optimized(
  _ rule: OptimizerRule, _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int
) throws(QCodecError) -> [OptimizerTensor] {
  let given = try unsafe elements(tensors, count, "tensors")
  var own: [OptimizerTensor] = []
  own.reserveCapacity(given.count)
  for index in given.indices { own.append(try unsafe given[index].tensor(rule)) }
  return own
}

@c @implementation public func qcodec_adamw_step(
  _ learningRate: Double, _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ weightDecay: Double,
  _ number: UInt64, _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int, _ threads: Int32,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    var adam = OptimizerRule.Adam()
    (adam.learningRate, adam.beta1, adam.beta2) = (learningRate, beta1, beta2)
    (adam.epsilon, adam.weightDecay) = (epsilon, weightDecay)
    try unsafe step(.adam(adam), StepSettings(number: number), tensors, count, threads)
  }
}

@c @implementation public func qcodec_sgd_step(
  _ learningRate: Double, _ momentum: Double, _ weightDecay: Double, _ number: UInt64,
  _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int, _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    var sgd = OptimizerRule.SGD()
    (sgd.learningRate, sgd.momentum, sgd.weightDecay) = (learningRate, momentum, weightDecay)
    try unsafe step(.sgd(sgd), StepSettings(number: number), tensors, count, threads)
  }
}

@c @implementation public func qcodec_lion_step(
  _ learningRate: Double, _ beta1: Double, _ beta2: Double, _ weightDecay: Double, _ number: UInt64,
  _ tensors: UnsafePointer<qcodec_optimizer_tensor>?, _ count: Int, _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    var lion = OptimizerRule.Lion()
    (lion.learningRate, lion.beta1, lion.beta2, lion.weightDecay) = (learningRate, beta1, beta2, weightDecay)
    try unsafe step(.lion(lion), StepSettings(number: number), tensors, count, threads)
  }
}

@c @implementation public func qcodec_squared_norm(
  _ dtype: Int32, _ values: UnsafeRawPointer?, _ size: Int, _ threads: Int32, _ squared: UnsafeMutablePointer<Double>?,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    guard let squared = unsafe squared else { throw invalid("squared is NULL") }
    let bytes = try unsafe bytes(values, size, "values")
    unsafe squared.pointee = try squaredNorm(bytes, try elementType(dtype), threads: threadCount(threads))
  }
}
