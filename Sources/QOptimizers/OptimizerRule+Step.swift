import CQCodecKernels
import QCodec

extension OptimizerRule {
  /// Takes a step: moves the parameters and moments of every tensor on.
  ///
  /// Moments in blocks that round to nearest are decoded, moved on and encoded in one pass, a few kilobytes at a time;
  /// those with scale vectors take two passes. Parameters go by the exact moments of the step, which are then encoded:
  /// the error of a moment is that of one encoding, whatever the number of steps was before.
  ///
  /// - Parameters:
  ///   - tensors: parameters with their gradients and moments.
  ///   - settings: the number of the step, its rate, and what else a step has.
  ///   - threads: threads to use, `availableThreads()` by default; they do not change the result.
  ///   - level: the instruction set to use; it does not change the result.
  ///
  /// Throws, before anything moves, `nonFiniteValue` for a gradient that is not finite or whose square is not,
  /// `invalidScale` and `invalidCode` for moments that no encoder writes, and `invalidArgument` for settings of the rule.
  /// Throws `updateNotFinite` where a moment overflows: the tensor that it names has then moved in part. O(elements).
  public func step(
    _ tensors: [OptimizerTensor], _ settings: StepSettings, threads: Int? = nil, kernels level: KernelLevel = .selected
  ) throws(QCodecError) {
    let step = try factors(settings)
    let threads = threads ?? availableThreads()
    var plans = tensors.map { TensorPlan($0, stepNumber: settings.number, level: level) }
    let chunks = Piece.chunks(of: tensors)
    if !settings.isChecked { try Self.check(plans, chunks, step, threads: threads) }
    var steps = try needsNorms ? scaledSteps(step, plans, chunks, threads: threads) : plans.map { _ in step }
    for index in plans.indices { steps[index] = try plans[index].moveFactors(steps[index], threads: threads) }
    let (ready, ownSteps) = (plans, steps)
    let pieces = plans.indices.flatMap { plans[$0].pieces(tensor: $0) }
    try parallelFor(count: pieces.count, threads: threads) { index throws(QCodecError) in
      let piece = pieces[index]
      try ready[piece.tensor].run(piece, ownSteps[piece.tensor])
    }
  }

  /// Throws what `step` throws before anything moves; moves nothing.
  ///
  /// Who takes a step in several calls checks all of it first, so that it is taken whole or not at all.
  public func check(
    _ tensors: [OptimizerTensor], _ settings: StepSettings, threads: Int? = nil, kernels level: KernelLevel = .selected
  ) throws(QCodecError) {
    let plans = tensors.map { TensorPlan($0, stepNumber: settings.number, level: level) }
    try Self.check(plans, Piece.chunks(of: tensors), factors(settings), threads: threads ?? availableThreads())
  }

  private static func check(
    _ plans: [TensorPlan], _ chunks: [Piece], _ step: qcodec_step, threads: Int
  ) throws(QCodecError) {
    try parallelFor(count: chunks.count, threads: threads) { index throws(QCodecError) in
      let piece = chunks[index]
      try plans[piece.tensor].check(chunk: piece.chunk, gradientFactor: step.gradient_factor)
    }
  }

  /// The step of each tensor, whose lengths are measured first.
  private func scaledSteps(
    _ step: qcodec_step, _ plans: [TensorPlan], _ chunks: [Piece], threads: Int
  ) throws(QCodecError) -> [qcodec_step] {
    let isLAMB = if case .lamb = self { true } else { false }
    let slots = ResultSlots<(parameters: Double, other: Double)>(count: chunks.count)
    try parallelFor(count: chunks.count, threads: threads) { index throws(QCodecError) in
      let piece = chunks[index]
      let plan = plans[piece.tensor]
      let other =
        try isLAMB
        ? plan.squaredDirection(chunk: piece.chunk, step) : plan.squaredGradient(chunk: piece.chunk)
      slots[index] = (plan.squaredParameters(chunk: piece.chunk), other)
    }
    // In order, so that the sum is the same at every thread count.
    var sums = [(parameters: Double, other: Double)](repeating: (0, 0), count: plans.count)
    for (piece, found) in zip(chunks, slots.inOrder) {
      sums[piece.tensor].parameters += found.parameters
      sums[piece.tensor].other += found.other
    }
    return sums.map { scaled(step, parameters: $0.parameters, other: $0.other) }
  }
}

/// Elements of a tensor that one thread moves on together.
struct Piece: Sendable {
  let tensor: Int
  let chunk: Int
  /// Counted from the chunk's first.
  let elements: Range<Int>

  /// Every chunk of every tensor.
  static func chunks(of tensors: [OptimizerTensor]) -> [Piece] {
    tensors.indices.flatMap { tensor in
      (0..<tensors[tensor].chunkCount).map { chunk in
        Piece(tensor: tensor, chunk: chunk, elements: 0..<tensors[tensor].elements(ofChunk: chunk).count)
      }
    }
  }
}

/// Sixteen sums, of which element i enters sum i % 16; added up in one order.
@safe struct SquareSums {
  private var sums = [Double](repeating: 0, count: 16)

  /// Takes in elements of a dtype, the first of which is a multiple of 16 from where the sums began.
  mutating func add(_ bytes: UnsafeRawBufferPointer, _ dtype: DType, level: KernelLevel) {
    guard let start = bytes.baseAddress else { return }
    if level == .scalar {
      let floats = unsafe dtype.floats(bytes)
      for i in floats.indices { sums[i % 16] += Double(floats[i]) * Double(floats[i]) }
    } else {
      let count = bytes.count / dtype.elementSize
      unsafe sums.withUnsafeMutableBufferPointer { sums in
        unsafe qcodec_squares(level.rawValue, start, dtype.kernelCode, count, sums.baseAddress)
      }
    }
  }

  /// Calls `body` with the sums, for a kernel to add to.
  mutating func with(_ body: (UnsafeMutablePointer<Double>) -> Void) {
    unsafe sums.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress.unsafelyUnwrapped) }
  }

  /// Takes in one square.
  mutating func add(square: Double, at index: Int) { sums[index % 16] += square }

  var total: Double { sums.reduce(0, +) }
}
