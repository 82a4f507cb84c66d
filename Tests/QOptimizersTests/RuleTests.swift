import QCodec
import QOptimizers
import Testing

/// A rule of one element in float64, as its authors give it.
private struct Exact {
  var parameter: Double
  var first = 0.0
  var second = 0.0
  var greatest = 0.0

  /// A step; `norms` are the lengths of the parameters and of the gradient or direction, for LAMB and LARS.
  mutating func step(_ rule: OptimizerRule, _ number: Int, _ gradient: Double, norms: (Double, Double) = (0, 0)) {
    let t = Double(number)
    func power(_ base: Double) -> Double { (0..<number).reduce(1) { product, _ in product * base } }
    switch rule {
    case .adam(let a):
      let g = gradient + (a.isDecoupled ? 0 : a.weightDecay * parameter)
      if a.isDecoupled { parameter -= a.learningRate * a.weightDecay * parameter }
      first = a.beta1 * first + (1 - a.beta1) * g
      second = a.beta2 * second + (1 - a.beta2) * g * g
      greatest = max(greatest, second)
      let root = ((a.isAMSGrad ? greatest : second) / (1 - power(a.beta2))).squareRoot()
      parameter -= a.learningRate * (first / (1 - power(a.beta1))) / (root + a.epsilon)
    case .sgd(let s):
      let g = gradient + s.weightDecay * parameter
      first = number == 1 || s.momentum == 0 ? g : s.momentum * first + (1 - s.dampening) * g
      parameter -= s.learningRate * (s.isNesterov ? g + s.momentum * first : first)
    case .lion(let l):
      let direction = l.beta1 * first + (1 - l.beta1) * gradient
      parameter -= l.learningRate * ((direction > 0 ? 1 : direction < 0 ? -1 : 0) + l.weightDecay * parameter)
      first = l.beta2 * first + (1 - l.beta2) * gradient
    case .adagrad(let a):
      let g = gradient + a.weightDecay * parameter
      second += g * g
      parameter -= a.learningRate / (1 + (t - 1) * a.learningRateDecay) * g / (second.squareRoot() + a.epsilon)
    case .rmsprop(let r):
      let g = gradient + r.weightDecay * parameter
      second = r.alpha * second + (1 - r.alpha) * g * g
      first = r.momentum * first + g / (second.squareRoot() + r.epsilon)
      parameter -= r.learningRate * first
    case .lamb(let l):
      first = l.beta1 * first + (1 - l.beta1) * gradient
      second = l.beta2 * second + (1 - l.beta2) * gradient * gradient
      parameter -= l.learningRate * direction(l, number) * (norms.0 / norms.1)
    case .lars(let l):
      let trust = l.trustCoefficient * norms.0 / (norms.1 + l.weightDecay * norms.0 + l.epsilon)
      let g = trust * (gradient + l.weightDecay * parameter)
      first = number == 1 ? g : l.momentum * first + g
      parameter -= l.learningRate * first
    }
  }

  func direction(_ l: OptimizerRule.LAMB, _ number: Int) -> Double {
    func rest(_ beta: Double) -> Double { 1 - (0..<number).reduce(1) { product, _ in product * beta } }
    return first / rest(l.beta1) / ((second / rest(l.beta2)).squareRoot() + l.epsilon) + l.weightDecay * parameter
  }
}

@Suite("Rules")
struct RuleTests {
  private func length(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  @Test("Five steps with float32 state are those of the formulas", arguments: everyRule.indices)
  func formulas(index: Int) throws {
    let rule = everyRule[index]
    var tensor = try Trained(rule, shape: [401], .init())
    var exact = tensor.values.map { Exact(parameter: Double($0)) }
    for number in 1...5 {
      let gradients = gradients(401, step: UInt64(number))
      var norms = (length(exact.map(\.parameter)), length(gradients.map(Double.init)))
      if case .lamb(let lamb) = rule {
        norms.1 = length(
          zip(exact, gradients).map { element, gradient in
            var moved = element
            moved.first = lamb.beta1 * moved.first + (1 - lamb.beta1) * Double(gradient)
            moved.second = lamb.beta2 * moved.second + (1 - lamb.beta2) * Double(gradient) * Double(gradient)
            return moved.direction(lamb, number)
          })
      }
      for i in exact.indices { exact[i].step(rule, number, Double(gradients[i]), norms: norms) }
      try tensor.step(rule, StepSettings(number: UInt64(number)), gradients)
    }
    let scale = exact.map(\.parameter.magnitude).max() ?? 1
    for (value, element) in zip(tensor.values, exact) {
      #expect(abs(Double(value) - element.parameter) < 3e-6 * scale)
    }
  }

  @Test("A gradient factor and maximizing are signs and factors of gradients")
  func factors() throws {
    let rule = everyRule[0]
    let given = gradients(300, step: 1)
    var one = try Trained(rule, shape: [300], .init())
    try one.step(rule, StepSettings(number: 1), given.map { $0 * -0.25 })
    var other = try Trained(rule, shape: [300], .init())
    var settings = StepSettings(number: 1)
    (settings.gradientFactor, settings.isMaximizing) = (0.25, true)
    try other.step(rule, settings, given)
    #expect(one.parameters == other.parameters && one.moments == other.moments)
  }

  @Test("Stochastic rounding has other numbers in every step, and the same in the same")
  func stochastic() throws {
    let schemes = StateLayout.Schemes(
      first: .init(map: .dynamic, bits: 4, signed: true, scaling: .block(128), rounding: .stochastic, seed: 3))
    let rule = OptimizerRule.lion(OptimizerRule.Lion())
    let given = gradients(4096, step: 1)
    var states: [[UInt8]] = []
    for number in [UInt64(1), 1, 2] {
      var tensor = try Trained(rule, shape: [4096], schemes)
      try tensor.step(rule, StepSettings(number: number), given)
      states.append(tensor.moments[0])
    }
    #expect(states[0] == states[1] && states[0] != states[2])
  }

  @Test("Lengths are the same at every level and number of threads")
  func lengths() throws {
    let bytes = DType.f32.bytes((0..<600_001).map { Float($0 % 977) - 488 })
    try unsafe bytes.withUnsafeBytes { bytes in
      let reference = try unsafe squaredNorm(bytes, .f32, threads: 1, kernels: .scalar)
      for level in KernelLevel.allCases where level.isSupported {
        for threads in [1, 3] {
          #expect(try unsafe squaredNorm(bytes, .f32, threads: threads, kernels: level) == reference)
        }
      }
    }
  }
}

@Suite("Steps that are refused")
struct RefusedStepTests {
  private let rule = everyRule[0]

  private func error(_ body: () throws -> Void) -> QCodecError? {
    do { try body() } catch { return error as? QCodecError }
    return nil
  }

  @Test(
    "A gradient that is not finite, or too large: nothing moves", arguments: [Float.nan, .infinity, -.infinity, 1e30])
  func gradient(value: Float) throws {
    for schemes in everyScheme {
      var tensor = try Trained(rule, shape: [3, 100_000], schemes)
      try tensor.steps(rule, 1...1)
      let before = (tensor.parameters, tensor.moments)
      var given = gradients(300_000, step: 2)
      given[290_001] = value
      let found = error { try tensor.step(rule, StepSettings(number: 2), given, threads: 2) }
      #expect(found?.code == .nonFiniteValue && found?.tensor == "w")
      if !value.isFinite { #expect(found?.index == 290_001) }
      #expect(tensor.parameters == before.0 && tensor.moments == before.1)
    }
  }

  @Test("Moments that no encoder writes: nothing moves")
  func moments() throws {
    for schemes in everyScheme.dropFirst().dropLast() {
      var tensor = try Trained(rule, shape: [64, 64], schemes)
      try tensor.steps(rule, 1...1)
      // A scale, or an end of a block, that is not finite.
      tensor.moments[1].replaceSubrange(0..<4, with: [0, 0, 0xC0, 0x7F])
      let before = (tensor.parameters, tensor.moments)
      let found = error { try tensor.step(rule, StepSettings(number: 2), gradients(4096, step: 2)) }
      #expect(found?.code == .invalidScale && found?.tensor == "w")
      #expect(tensor.parameters == before.0 && tensor.moments == before.1)
    }
  }

  @Test("Schemes that moments cannot have")
  func schemes() throws {
    let update = Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update)
    let log = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
    let cases: [(OptimizerRule, StateLayout.Schemes)] = [
      (rule, .init(first: log)), (rule, .init(second: .init(map: .dynamic, bits: 8, signed: true, scaling: .tensor))),
      (rule, .init(first: update)), (.lion(OptimizerRule.Lion()), .init(first: update, second: log)),
      (rule, .init(first: update, second: .init(map: .linear, bits: 8, signed: false, scaling: .row))),
      (
        rule,
        .init(first: .init(map: .linear, bits: 8, signed: true, scaling: .row, domain: .update), second: log)
      ),
      (
        rule,
        .init(
          first: .init(
            map: .dynamic, bits: 8, signed: true, scaling: .tensor, rounding: .unknown, scaleRule: .unknown))
      ),
    ]
    for (rule, schemes) in cases {
      #expect(error { _ = try StateLayout(rule: rule, shape: [64, 64], schemes: schemes) }?.code == .unsupportedScheme)
    }
  }

  @Test("Settings that no step can have")
  func settings() throws {
    var adam = OptimizerRule.Adam()
    adam.beta2 = 1
    var negative = OptimizerRule.Adam()
    negative.learningRate = -1
    var notANumber = OptimizerRule.Adam()
    notANumber.epsilon = .nan
    var nesterov = OptimizerRule.SGD()
    (nesterov.isNesterov, nesterov.dampening) = (true, 0.1)
    for rule in [OptimizerRule.adam(adam), .adam(negative), .adam(notANumber), .sgd(nesterov)] {
      var tensor = try Trained(rule, shape: [8], .init())
      #expect(
        error { try tensor.step(rule, StepSettings(number: 1), gradients(8, step: 1)) }?.code == .invalidArgument)
    }
    var tensor = try Trained(rule, shape: [8], .init())
    #expect(error { try tensor.step(rule, StepSettings(number: 0), gradients(8, step: 1)) }?.code == .invalidArgument)
  }

  @Test("Buffers of another size, and types that no optimizer computes with")
  func buffers() throws {
    let layout = try StateLayout(rule: rule, shape: [10], schemes: .init())
    var (bytes, moment) = ([UInt8](repeating: 0, count: 80), [UInt8](repeating: 0, count: 40))
    let none = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe moment.withUnsafeMutableBytes { moment in
        let forty = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<40])
        let good = unsafe [moment, forty, none]
        func make(
          _ p: UnsafeMutableRawBufferPointer, _ dtype: DType, _ moments: [UnsafeMutableRawBufferPointer]
        ) -> QCodecError.Code? {
          error {
            _ = try unsafe OptimizerTensor(
              name: "w", layout: layout, parameters: p, dtype, gradients: UnsafeRawBufferPointer(forty),
              moments: moments)
          }?.code
        }
        #expect(unsafe make(forty, .f32, good) == nil)
        #expect(unsafe make(bytes, .f32, good) == .shapeMismatch)
        #expect(unsafe make(forty, .bf16, good) == .shapeMismatch)
        #expect(unsafe make(bytes, .f64, good) == .invalidArgument)
        #expect(unsafe make(forty, .f32, [moment, bytes, none]) == .shapeMismatch)
        #expect(unsafe make(forty, .f32, [moment, forty, moment]) == .shapeMismatch)
      }
    }
  }
}
