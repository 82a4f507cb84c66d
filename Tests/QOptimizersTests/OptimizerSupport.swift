import QCodec
import QOptimizers
import TestSupport

extension SeededGenerator {
  /// Magnitudes of four decades, either sign, some zeros: gradients are like that.
  mutating func gradient() -> Float {
    let word = next()
    if word % 50 == 0 { return 0 }
    let magnitude = Float(0x1p-14) * Float(1 + word >> 8 & 0xFFFF) / 65_536 * Float(1 << (word >> 40 & 15)) / 16
    return word >> 63 == 0 ? magnitude : -magnitude
  }
}

/// A tensor in memory with an optimizer's state.
struct Trained {
  let layout: StateLayout
  let name: String
  let parameterDType: DType
  let gradientDType: DType
  var parameters: [UInt8]
  var moments: [[UInt8]]

  init(
    _ rule: OptimizerRule, shape: [UInt64], _ schemes: StateLayout.Schemes, name: String = "w",
    parameters: DType = .f32,
    gradients: DType = .f32, seed: UInt64 = 1
  ) throws {
    layout = try StateLayout(rule: rule, shape: shape, schemes: schemes)
    self.name = name
    parameterDType = parameters
    gradientDType = gradients
    var numbers = SeededGenerator(seed: seed)
    self.parameters = parameters.bytes((0..<layout.elementCount).map { _ in numbers.gradient() * 20 })
    moments = try layout.zeros()
  }

  /// A step with gradients.
  mutating func step(
    _ rule: OptimizerRule, _ settings: StepSettings, _ gradients: [Float], threads: Int = 1,
    kernels: KernelLevel = .selected
  ) throws {
    try with(gradients) { try rule.step([$0], settings, threads: threads, kernels: kernels) }
  }

  /// The check of a step.
  mutating func check(_ rule: OptimizerRule, _ settings: StepSettings, _ gradients: [Float]) throws {
    try with(gradients) { try rule.check([$0], settings, threads: 1) }
  }

  /// Calls `body` with the tensor over this one's memory.
  private mutating func with(_ gradients: [Float], _ body: (OptimizerTensor) throws -> Void) throws {
    let bytes = gradientDType.bytes(gradients)
    var (own, first, second, greatest) = (parameters, moments[0], moments[1], moments[2])
    defer { (parameters, moments) = (own, [first, second, greatest]) }
    try unsafe own.withUnsafeMutableBytes { parameters in
      try unsafe bytes.withUnsafeBytes { gradients in
        try unsafe first.withUnsafeMutableBytes { first in
          try unsafe second.withUnsafeMutableBytes { second in
            try unsafe greatest.withUnsafeMutableBytes { greatest in
              try body(
                unsafe OptimizerTensor(
                  name: name, layout: layout, parameters: parameters, parameterDType, gradients: gradients,
                  gradientDType, moments: [first, second, greatest]))
            }
          }
        }
      }
    }
  }

  /// As many steps with made-up gradients.
  mutating func steps(
    _ rule: OptimizerRule, _ numbers: ClosedRange<UInt64>, threads: Int = 1, kernels: KernelLevel = .selected
  ) throws {
    for number in numbers {
      try step(
        rule, StepSettings(number: number), gradients(layout.elementCount, step: number), threads: threads,
        kernels: kernels)
    }
  }

  var values: [Float] { parameterDType.floats(of: parameters) }
}

/// The gradients of a step.
func gradients(_ count: Int, step: UInt64) -> [Float] {
  var numbers = SeededGenerator(seed: 1000 + step)
  return (0..<count).map { _ in numbers.gradient() }
}

extension DType {
  /// Elements of a type that optimizers compute with, rounded to nearest.
  func bytes(_ values: [Float]) -> [UInt8] {
    values.flatMap { value -> [UInt8] in
      switch self {
      case .bf16:
        let bits = value.bitPattern
        return littleEndian(UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16))
      case .f16: return littleEndian(Float16(value).bitPattern)
      default: return littleEndian(value.bitPattern)
      }
    }
  }

  func floats(of bytes: [UInt8]) -> [Float] {
    stride(from: 0, to: bytes.count, by: bitWidth / 8).map { at in
      let half = UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8
      switch self {
      case .bf16: return Float(bitPattern: UInt32(half) << 16)
      case .f16: return Float(Float16(bitPattern: half))
      default: return Float(bitPattern: UInt32(half) | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24)
      }
    }
  }
}

private func littleEndian<Word: FixedWidthInteger>(_ word: Word) -> [UInt8] {
  (0..<Word.bitWidth / 8).map { UInt8(truncatingIfNeeded: word >> Word($0 * 8)) }
}

/// Rules with settings that let every term weigh.
let everyRule: [OptimizerRule] = {
  var adamW = OptimizerRule.Adam()
  adamW.weightDecay = 0.1
  var adam = adamW
  (adam.isDecoupled, adam.isAMSGrad, adam.beta2) = (false, true, 0.9)
  var sgd = OptimizerRule.SGD()
  (sgd.dampening, sgd.weightDecay, sgd.learningRate) = (0.3, 0.01, 0.1)
  var nesterov = OptimizerRule.SGD()
  (nesterov.isNesterov, nesterov.weightDecay) = (true, 0.01)
  var plain = OptimizerRule.SGD()
  plain.momentum = 0
  var lion = OptimizerRule.Lion()
  (lion.learningRate, lion.weightDecay) = (1e-3, 0.1)
  var adagrad = OptimizerRule.Adagrad()
  (adagrad.learningRateDecay, adagrad.weightDecay) = (0.1, 0.01)
  var rmsprop = OptimizerRule.RMSprop()
  (rmsprop.momentum, rmsprop.weightDecay) = (0.5, 0.01)
  var lamb = OptimizerRule.LAMB()
  lamb.weightDecay = 0.1
  var lars = OptimizerRule.LARS()
  (lars.weightDecay, lars.trustCoefficient) = (0.01, 0.1)
  return [
    .adam(adamW), .adam(adam), .sgd(sgd), .sgd(nesterov), .sgd(plain), .lion(lion), .adagrad(adagrad),
    .rmsprop(rmsprop), .rmsprop(OptimizerRule.RMSprop()), .lamb(lamb), .lars(lars),
  ]
}()

/// Schemes of either plan: pairs, tables, scale vectors, every rounding, float32.
let everyScheme: [StateLayout.Schemes] = [
  .init(),
  .init(
    first: .init(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update),
    second: .init(map: .log, bits: 8, signed: false, scaling: .block(512))),
  .init(
    first: .init(map: .cubic, bits: 4, signed: true, scaling: .block(128), domain: .update),
    second: .init(map: .log, bits: 4, signed: false, scaling: .block(256))),
  .init(
    first: .init(map: .linear, bits: 8, signed: true, scaling: .block(64), domain: .update),
    second: .init(map: .linear, bits: 8, signed: false, scaling: .block(4096))),
  .init(
    first: .init(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
    second: .init(map: .dynamic, bits: 8, signed: false, scaling: .block(256))),
  .init(
    first: .init(map: .normal, bits: 4, signed: true, scaling: .block(128)),
    second: .init(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1)),
  .init(
    first: .init(map: .linear, bits: 8, signed: true, scaling: .row),
    second: .init(map: .dynamic, bits: 8, signed: false, scaling: .column)),
  .init(
    first: .init(map: .dynamic, bits: 8, signed: true, scaling: .block(256), rounding: .stochastic, seed: 5),
    second: .init(map: .log, bits: 8, signed: false, scaling: .block(256), rounding: .stochastic, seed: 6)),
  .init(first: nil, second: .init(map: .log, bits: 8, signed: false, scaling: .block(512))),
  // Widths whose codes kernels of a step do not have: such tensors take the general way.
  .init(
    first: .init(map: .cubic, bits: 6, signed: true, scaling: .block(128), domain: .update),
    second: .init(map: .log, bits: 5, signed: false, scaling: .block(256))),
  .init(
    first: .init(map: .linear, bits: 3, signed: true, scaling: .column),
    second: .init(map: .linearNoZero, bits: 6, signed: false, scaling: .rank1)),
  .init(
    first: .init(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
    second: .init(map: .log, bits: 2, signed: false, scaling: .block(64))),
  // Moved on and measured in one loop, by blocks of either order; blocks of 32 are not.
  .init(
    first: .init(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
    second: .init(map: .log, bits: 8, signed: false, scaling: .block(512))),
  .init(
    first: .init(map: .linear, bits: 8, signed: true, scaling: .block(2048)),
    second: .init(map: .log, bits: 8, signed: false, scaling: .block(64))),
  .init(
    first: .init(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
    second: .init(map: .log, bits: 4, signed: false, scaling: .block(256))),
  .init(
    first: .init(map: .dynamic, bits: 8, signed: true, scaling: .block(32)),
    second: .init(map: .log, bits: 8, signed: false, scaling: .block(512))),
]

/// Schemes with a factored second moment, which Adam takes alone.
let factoredSchemes: [StateLayout.Schemes] = [
  .init(isSecondFactored: true),
  .init(first: .init(map: .dynamic, bits: 8, signed: true, scaling: .block(256)), isSecondFactored: true),
  .init(first: .init(map: .dynamic, bits: 4, signed: true, scaling: .block(128)), isSecondFactored: true),
  .init(first: .init(map: .normal, bits: 4, signed: true, scaling: .rank1), isSecondFactored: true),
  .init(
    first: .init(map: .dynamic, bits: 4, signed: true, scaling: .block(128), rounding: .stochastic, seed: 3),
    isSecondFactored: true),
]
