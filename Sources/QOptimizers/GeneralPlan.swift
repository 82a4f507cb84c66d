import CQCodecKernels
import QCodec

/// The step of a tensor of any schemes: a chunk's moments are decoded, moved on and encoded.
struct GeneralPlan: Sendable {
  private let tensor: OptimizerTensor
  private let stepNumber: UInt64
  private let level: KernelLevel
  /// Whether a moment has a scale vector, which takes a pass over the tensor before any of it can be encoded.
  let hasVectors: Bool
  /// Of a factored second moment.
  var factors: Factors?

  init(_ tensor: OptimizerTensor, stepNumber: UInt64, level: KernelLevel) {
    self.tensor = tensor
    self.stepNumber = stepNumber
    self.level = level
    hasVectors = tensor.layout.storages.contains { ($0.layout?.scaleCount ?? 0) > 0 }
  }

  /// Moves a chunk on that has no scale vector.
  func run(chunk: Int, _ step: qcodec_step) throws(QCodecError) {
    try run(chunk: chunk, step, old: [[], [], []], new: [[], [], []])
  }

  /// Moves a tensor on whose moments have scale vectors: a pass for the vectors, and one that moves.
  func runWhole(_ step: qcodec_step) throws(QCodecError) {
    let old = tensor.layout.storages.indices.map { tensor.scaleVector($0) }
    let passes = tensor.layout.storages.map { storage -> ScalePass? in
      guard let layout = storage.layout, layout.scaleCount > 0 else { return nil }
      return ScalePass(layout: layout, kernels: level)
    }
    for chunk in 0..<tensor.chunkCount {
      var values = try floats(chunk: chunk, old)
      values.move(step, level: level)
      for (moment, pass) in passes.enumerated() {
        guard let pass else { continue }
        try unsafe values.moment(moment).withUnsafeBufferPointer { values throws(QCodecError) in
          try unsafe pass.accumulate(chunk: chunk, source: UnsafeRawBufferPointer(values))
        }
      }
    }
    let new = passes.map { $0?.finish() ?? [] }
    guard new.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw QCodecError(.updateNotFinite, "a moment is not finite after the step")
    }
    for chunk in 0..<tensor.chunkCount { try run(chunk: chunk, step, old: old, new: new) }
    for (moment, scales) in new.enumerated() where !scales.isEmpty { tensor.store(scaleVector: scales, moment) }
  }

  func squaredDirection(chunk: Int, _ step: qcodec_step) throws(QCodecError) -> Double {
    var values = try floats(chunk: chunk, tensor.layout.storages.indices.map { tensor.scaleVector($0) })
    return values.squaredDirection(step, level: level)
  }

  // MARK: A chunk

  private func run(
    chunk: Int, _ step: qcodec_step, old: [[Float]], new: [[Float]]
  ) throws(QCodecError) {
    var values = try floats(chunk: chunk, old)
    values.move(step, level: level)
    // What cannot be encoded is found before the parameters move.
    for moment in [2, 1, 0] { try store(moment, of: values, chunk: chunk, scales: new[moment]) }
    let target = unsafe tensor.parameterBytes(tensor.elements(ofChunk: chunk))
    unsafe tensor.parameterDType.store(values.parameters, into: target)
  }

  /// The elements of a chunk, and its moments under their scale vectors.
  private func floats(chunk: Int, _ scales: [[Float]]) throws(QCodecError) -> ChunkFloats {
    let elements = tensor.elements(ofChunk: chunk)
    var moments = try tensor.layout.storages.indices.map { moment throws(QCodecError) -> [Float] in
      switch tensor.layout.storages[moment] {
      case .none: return moment == 1 ? factors?.values(elements) ?? [] : []
      case .float32:
        return unsafe DType.f32.floats(UnsafeRawBufferPointer(tensor.payload(moment, chunk: chunk)))
      case .stream(let layout):
        guard layout.scheme.domain == .value else { return [] }
        return try decoded(moment, layout, chunk: chunk, scales[moment])
      }
    }
    if let first = tensor.layout.first.layout, first.scheme.domain == .update {
      moments[0] = try decodedPair(first, chunk: chunk, scales)
    }
    return ChunkFloats(
      parameters: unsafe tensor.parameterDType.floats(UnsafeRawBufferPointer(tensor.parameterBytes(elements))),
      gradients: unsafe tensor.gradientDType.floats(tensor.gradientBytes(elements)), first: moments[0],
      second: moments[1],
      greatest: moments[2])
  }

  private func decoded(
    _ moment: Int, _ layout: TensorLayout, chunk: Int, _ scales: [Float], divisors: [Float] = []
  ) throws(QCodecError) -> [Float] {
    let decoder = try ChunkDecoder(layout: layout, scales: scales, kernels: level)
    var values = [Float](repeating: 0, count: tensor.elements(ofChunk: chunk).count)
    let payload = unsafe UnsafeRawBufferPointer(tensor.payload(moment, chunk: chunk))
    try unsafe values.withUnsafeMutableBufferPointer { target throws(QCodecError) in
      try unsafe decoder.decode(
        chunk: chunk, payload: payload, divisors: divisors, into: UnsafeMutableRawBufferPointer(target))
    }
    return values
  }

  /// A first moment of the update domain.
  private func decodedPair(_ layout: TensorLayout, chunk: Int, _ scales: [[Float]]) throws(QCodecError) -> [Float] {
    try decoded(0, layout, chunk: chunk, scales[0], divisors: divisors(chunk: chunk, scales[1]))
  }

  /// What a first moment of the update domain is divided by, from the second moment's payload as it is.
  private func divisors(chunk: Int, _ scales: [Float]) throws(QCodecError) -> [Float] {
    guard let layout = tensor.layout.second.layout else { return [] }
    let decoder = try ChunkDecoder(layout: layout, scales: scales, kernels: level)
    return try unsafe decoder.divisors(
      chunk: chunk, payload: UnsafeRawBufferPointer(tensor.payload(1, chunk: chunk)))
  }

  private func store(
    _ moment: Int, of values: ChunkFloats, chunk: Int, scales: [Float]
  ) throws(QCodecError) {
    let target = unsafe tensor.payload(moment, chunk: chunk)
    switch tensor.layout.storages[moment] {
    case .none: return
    case .float32: unsafe values.moment(moment).withUnsafeBytes { unsafe target.copyMemory(from: $0) }
    case .stream(let layout):
      let encoder = try ChunkEncoder(
        layout: seeded(layout), name: tensor.name, scales: scales, kernels: level)
      let divisors = try layout.scheme.domain == .update ? self.divisors(chunk: chunk, []) : []
      do throws(QCodecError) {
        try unsafe values.moment(moment).withUnsafeBufferPointer { source throws(QCodecError) in
          _ = try unsafe encoder.encode(
            chunk: chunk, source: UnsafeRawBufferPointer(source), divisors: divisors, into: target, measures: false)
        }
      } catch {
        throw QCodecError(
          .updateNotFinite, "\(error.message): a moment after the step, which the tensor has taken in part",
          index: error.index)
      }
    }
  }

  /// The layout with a seed of its own for the step: the same numbers in every step would round an element always alike.
  private func seeded(_ layout: TensorLayout) throws(QCodecError) -> TensorLayout {
    guard layout.scheme.rounding == .stochastic else { return layout }
    var scheme = layout.scheme
    scheme.seed = scheme.seed &+ stepNumber &* 0x9E37_79B9_7F4A_7C15
    return try TensorLayout(dtype: .f32, shape: layout.shape, scheme: scheme)
  }
}
