import CQCodecKernels
import QCodec

/// How one tensor takes its step: by a fused kernel, or decoded and encoded chunk by chunk.
struct TensorPlan: Sendable {
  let tensor: OptimizerTensor
  let level: KernelLevel
  /// nil where kernels do not serve a scheme.
  private let kernels: KernelPlan?
  private var general: GeneralPlan
  /// Of a factored second moment, once they have been moved on.
  private var factors: Factors? { didSet { general.factors = factors } }

  init(_ tensor: OptimizerTensor, stepNumber: UInt64, level: KernelLevel) {
    self.tensor = tensor
    self.level = level
    kernels = KernelPlan(tensor, level: level)
    general = GeneralPlan(tensor, stepNumber: stepNumber, level: level)
  }

  /// Elements that a piece has at most: enough that handing it out costs nothing, few enough that threads end together.
  private static let pieceElements = 65_536

  /// The pieces of the tensor.
  func pieces(tensor index: Int) -> [Piece] {
    guard tensor.layout.elementCount > 0 else { return [] }
    if general.hasVectors { return [Piece(tensor: index, chunk: 0, elements: 0..<tensor.layout.elementCount)] }
    return (0..<tensor.chunkCount).flatMap { chunk in
      let count = tensor.elements(ofChunk: chunk).count
      // A piece of the general plan is a chunk.
      let size = kernels.map { _ in Self.pieceElements } ?? count
      return stride(from: 0, to: count, by: size).map { start in
        Piece(tensor: index, chunk: chunk, elements: start..<min(count, start + size))
      }
    }
  }

  func run(_ piece: Piece, _ step: qcodec_step) throws(QCodecError) {
    do throws(QCodecError) {
      if let kernels {
        try kernels.run(tensor, chunk: piece.chunk, elements: piece.elements, step, factors)
      } else if general.hasVectors {
        try general.runWhole(step)
      } else {
        try general.run(chunk: piece.chunk, step)
      }
    } catch {
      throw error.named(tensor.name)
    }
  }

  // MARK: Factors

  /// Moves the factors of the second moment on, where it has such; returns the step of the tensor, whose second moment is
  /// then given.
  mutating func moveFactors(_ step: qcodec_step, threads: Int) throws(QCodecError) -> qcodec_step {
    guard let shape = tensor.layout.factored else { return step }
    factors = try tensor.movedFactors(shape, step, level: level, threads: threads)
    var given = step
    given.second_is_given = 1
    return given
  }

  // MARK: Checks

  /// The greatest gradient whose square, and a sum of a thousand such squares, is finite.
  private static let greatestGradient: Float = 0x1p58

  /// Refuses gradients and moments that a step cannot take.
  func check(chunk: Int, gradientFactor: Float) throws(QCodecError) {
    do throws(QCodecError) {
      let elements = tensor.elements(ofChunk: chunk)
      var scan = ValueScan()
      unsafe scan.scan(
        source: tensor.gradientBytes(elements), dtype: tensor.gradientDType, startingAt: UInt64(elements.lowerBound),
        kernels: level)
      if let found = scan.firstNonFinite {
        throw QCodecError(.nonFiniteValue, "a gradient of \(found.value)", index: found.index)
      }
      guard scan.greatestMagnitude * gradientFactor.magnitude <= Self.greatestGradient else {
        throw QCodecError(.nonFiniteValue, "a gradient of \(scan.greatestMagnitude), whose square no moment holds")
      }
      for moment in tensor.layout.storages.indices { try checkMoment(moment, chunk: chunk) }
      if chunk == 0, tensor.layout.factored != nil { try tensor.checkFactors() }
    } catch {
      throw error.named(tensor.name)
    }
  }

  private func checkMoment(_ moment: Int, chunk: Int) throws(QCodecError) {
    guard let layout = tensor.layout.storages[moment].layout else { return }
    let decoder = try ChunkDecoder(layout: layout, scales: tensor.scaleVector(moment), kernels: level)
    try unsafe decoder.check(chunk: chunk, payload: UnsafeRawBufferPointer(tensor.payload(moment, chunk: chunk)))
  }

  // MARK: Lengths

  func squaredParameters(chunk: Int) -> Double {
    let bytes = unsafe UnsafeRawBufferPointer(tensor.parameterBytes(tensor.elements(ofChunk: chunk)))
    return unsafe squares(bytes, tensor.parameterDType)
  }

  func squaredGradient(chunk: Int) -> Double {
    unsafe squares(tensor.gradientBytes(tensor.elements(ofChunk: chunk)), tensor.gradientDType)
  }

  private func squares(_ bytes: UnsafeRawBufferPointer, _ dtype: DType) -> Double {
    var sums = SquareSums()
    unsafe sums.add(bytes, dtype, level: level)
    return sums.total
  }

  /// Of what a step of LAMB would move parameters by.
  func squaredDirection(chunk: Int, _ step: qcodec_step) throws(QCodecError) -> Double {
    if let kernels { return kernels.squaredDirection(tensor, chunk: chunk, step) }
    return try general.squaredDirection(chunk: chunk, step)
  }
}
