import QCodec

extension CheckpointWriter {
  /// Adds a first moment with its second moment.
  ///
  /// Both are looked over before their first byte is written.
  ///
  /// - Parameters:
  ///   - shape: of both, up to 32 lengths.
  ///   - fallback: as `Addition.pair` has it.
  ///   - epsilon: ε of the update m/(√v + ε) whose error is measured and recorded; nil does not measure.
  ///
  /// Throws as `add(name:dtype:shape:role:encoding:source:nonFinite:negativeFallsBack:)`, and `unsupportedScheme` for a
  /// second moment or a fallback in the update domain.
  public func addPair(
    first: NewTensor, second: NewTensor, shape: [UInt64], fallback: Scheme? = nil, nonFinite: NonFinitePolicy = .error,
    measuring epsilon: Double? = nil
  ) throws(QCodecError) {
    try add(
      [.pair(first: first, second: second, shape: shape, fallback: fallback)], nonFinite: nonFinite,
      measuring: epsilon)
  }
}

/// Makes the chunks of a pair in the update domain, both moments of a chunk at a time.
struct PairPreparation: Sendable {
  /// Both chunks of the same elements.
  struct Chunks: Sendable {
    let first: PreparedChunk
    let second: PreparedChunk
    let error: UpdateError?
  }

  private let sources: (first: any TensorSource, second: any TensorSource)
  private let chunks: (first: ChunkPreparation, second: ChunkPreparation)
  private let encoders: (first: ChunkEncoder, second: ChunkEncoder)
  private let decoders: (first: ChunkDecoder, second: ChunkDecoder)
  /// ε of the update that is measured; nil to measure none.
  private let epsilon: Double?

  /// Both tensors are quantized, the first in the update domain.
  init(
    first: SettledTensor, second: SettledTensor, chunks: (first: ChunkPreparation, second: ChunkPreparation),
    epsilon: Double?
  ) throws(QCodecError) {
    guard let one = chunks.first.encoder, let other = chunks.second.encoder else {
      preconditionFailure("a pair of the update domain is quantized")
    }
    sources = (first.source, second.source)
    self.chunks = chunks
    encoders = (one, other)
    decoders = (
      try ChunkDecoder(layout: one.layout, scales: first.scales),
      try ChunkDecoder(layout: other.layout, scales: second.scales)
    )
    self.epsilon = epsilon
  }

  func prepare(_ index: Int) throws(QCodecError) -> Chunks {
    try unsafe chunks.second.withSource(ofChunk: index, from: sources.second) { v throws(QCodecError) in
      try unsafe chunks.first.withSource(ofChunk: index, from: sources.first) { m throws(QCodecError) in
        try unsafe prepare(index, m: m, v: v)
      }
    }
  }

  private func prepare(
    _ index: Int, m: UnsafeRawBufferPointer, v: UnsafeRawBufferPointer
  ) throws(QCodecError) -> Chunks {
    let pool = chunks.first.pool
    let first = pool.buffer(encoders.first.layout.payloadByteCount(ofChunk: index))
    let second = pool.buffer(encoders.second.layout.payloadByteCount(ofChunk: index))
    let secondStatistics = try unsafe encoders.second.encode(chunk: index, source: v, into: second.bytes)
    let divisors = try unsafe decoders.second.divisors(chunk: index, payload: second.contents)
    let firstStatistics = try unsafe encoders.first.encode(
      chunk: index, source: m, divisors: divisors, into: first.bytes)
    var error: UpdateError?
    if let epsilon {
      let (decodedM, decodedV) = (pool.buffer(m.count), pool.buffer(v.count))
      try unsafe decoders.first.decode(
        chunk: index, payload: first.contents, divisors: divisors, into: decodedM.bytes)
      try unsafe decoders.second.decode(chunk: index, payload: second.contents, into: decodedV.bytes)
      error = unsafe updateError(m, v, decodedM.contents, decodedV.contents, epsilon: epsilon)
    }
    return Chunks(
      first: try chunks.first.finish(first, kind: .codes, statistics: firstStatistics),
      second: try chunks.second.finish(second, kind: .codes, statistics: secondStatistics), error: error)
  }

  private func updateError(
    _ m: UnsafeRawBufferPointer, _ v: UnsafeRawBufferPointer, _ decodedM: UnsafeRawBufferPointer,
    _ decodedV: UnsafeRawBufferPointer, epsilon: Double
  ) -> UpdateError {
    let (first, second) = (encoders.first.layout.dtype, encoders.second.layout.dtype)
    let (m, decodedM) = unsafe (first.floats(m), first.floats(decodedM))
    let (v, decodedV) = unsafe (second.floats(v), second.floats(decodedV))
    return withCodecEnvironment {
      UpdateError(epsilon: epsilon, count: m.count) { index in
        (Double(m[index]), Double(v[index]), Double(decodedM[index]), Double(decodedV[index]))
      }
    }
  }
}
