import QCodec
import QOptimizers

/// Steps of an optimizer over moments of any bytes: taken alike at every level and number of threads, or refused alike.
enum OptimizerTarget {
  private static let rules: [OptimizerRule] = {
    var amsgrad = OptimizerRule.Adam()
    (amsgrad.isAMSGrad, amsgrad.isDecoupled) = (true, false)
    var plain = OptimizerRule.SGD()
    plain.momentum = 0
    var momentum = OptimizerRule.RMSprop()
    momentum.momentum = 0.5
    return [
      .adam(.init()), .adam(amsgrad), .sgd(.init()), .sgd(plain), .lion(.init()), .adagrad(.init()), .rmsprop(.init()),
      .rmsprop(momentum), .lamb(.init()), .lars(.init()),
    ]
  }()

  static func run(_ input: [UInt8]) -> Bool {
    var cursor = InputCursor(input)
    let (choice, flags) = (cursor.byte(), cursor.byte())
    let domain: Scheme.Domain = flags & 1 == 0 ? .value : .update
    guard let tensor = TensorInput(&cursor, maximum: 4000, domain: domain),
      let second = TensorInput.scheme(&cursor, domain: .value)
    else { return false }
    let schemes = StateLayout.Schemes(
      first: flags & 2 == 0 ? tensor.scheme : nil, second: flags & 4 == 0 ? second : nil,
      isSecondFactored: flags & 0x18 == 0x18)
    let rule = rules[Int(choice) % rules.count]
    let layout = outcome { () throws(QCodecError) in
      try StateLayout(rule: rule, shape: tensor.shape, schemes: schemes)
    }
    guard let layout = layout.value else { return true }
    var settings = StepSettings(number: 1 + UInt64(cursor.byte()))
    settings.gradientFactor = flags & 0x20 == 0 ? 1 : 1 / (1 + Double(cursor.byte()))
    let dtype = TensorInput.dtypes[Int(cursor.byte() % 3)]
    // Gradients that a step takes are of magnitudes about 1; others are refused for the most part.
    let gradients = cursor.bytes(tensor.elements * dtype.bitWidth / 8)
    let start = Start(
      rule: rule, settings: settings, layout: layout, parameterDType: tensor.dtype, gradientDType: dtype,
      parameters: cursor.bytes(tensor.elements * tensor.dtype.bitWidth / 8).tamed(tensor.dtype),
      gradients: flags & 0x40 == 0 ? gradients.tamed(dtype) : gradients,
      moments: flags & 0x80 == 0 ? nil : moments(of: layout, &cursor))
    let reference = outcome { () throws(QCodecError) in try start.stepped(.scalar, threads: 1) }
    for level in StreamTarget.levels {
      let own = outcome { () throws(QCodecError) in try start.stepped(level, threads: 2) }
      // What overflows on the way has moved in part: which part, and what its error names, is nobody's promise.
      require(
        own == reference || own.error?.code == reference.error?.code && !own.isSuccess,
        "\(level.name): \(own.error as Any), \(reference.error as Any)")
    }
    return true
  }

  /// Streams of any bytes; floats as steps leave them behind, for NaN would be computed with.
  private static func moments(of layout: StateLayout, _ cursor: inout InputCursor) -> [[UInt8]] {
    zip([layout.first, layout.second, layout.greatest], layout.byteCounts).enumerated().map { index, moment in
      let bytes = cursor.bytes(moment.1)
      if case .stream = moment.0 { return bytes }
      return bytes.tamed(.f32, signed: index == 0)
    }
  }
}

extension [UInt8] {
  /// Elements of magnitudes about 1.
  fileprivate func tamed(_ dtype: DType, signed: Bool = true) -> [UInt8] {
    var result = self
    let size = dtype.bitWidth / 8
    // The exponent's upper bits stand in the last byte, below the sign.
    for index in stride(from: size - 1, to: count, by: size) {
      result[index] = (signed ? self[index] & 0x80 : 0) | (0x3A + self[index] % 5)
    }
    return result
  }
}

/// A tensor before its steps.
private struct Start {
  let rule: OptimizerRule
  let settings: StepSettings
  let layout: StateLayout
  let parameterDType: DType
  let gradientDType: DType
  let parameters: [UInt8]
  let gradients: [UInt8]
  /// nil for those of a tensor that has taken no step.
  let moments: [[UInt8]]?

  struct Outcome: Equatable {
    let parameters: [UInt8]
    let moments: [[UInt8]]
  }

  /// The tensor after two steps.
  func stepped(_ level: KernelLevel, threads: Int) throws(QCodecError) -> Outcome {
    var own = parameters
    var moments: [[UInt8]]
    if let given = self.moments { moments = given } else { moments = try layout.zeros() }
    for number in 0..<2 {
      var settings = settings
      settings.number += UInt64(number)
      try step(&own, &moments, settings, level, threads)
    }
    return Outcome(parameters: own, moments: moments)
  }

  private func step(
    _ own: inout [UInt8], _ moments: inout [[UInt8]], _ settings: StepSettings, _ level: KernelLevel, _ threads: Int
  ) throws(QCodecError) {
    var (first, second, greatest) = (moments[0], moments[1], moments[2])
    defer { moments = [first, second, greatest] }
    try own.withMutableRaw(shift: 0) { own throws(QCodecError) in
      try gradients.withRaw(shift: 0) { gradients throws(QCodecError) in
        try first.withMutableRaw(shift: 0) { first throws(QCodecError) in
          try second.withMutableRaw(shift: 0) { second throws(QCodecError) in
            try greatest.withMutableRaw(shift: 0) { greatest throws(QCodecError) in
              let tensor = try OptimizerTensor(
                name: "w", layout: layout, parameters: own, parameterDType, gradients: gradients, gradientDType,
                moments: [first, second, greatest])
              try rule.step([tensor], settings, threads: threads, kernels: level)
            }
          }
        }
      }
    }
  }
}
