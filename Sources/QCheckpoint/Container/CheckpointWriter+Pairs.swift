import QCodec

extension CheckpointWriter {
  /// Adds a first moment with its second moment.
  ///
  /// Both are looked over before their first byte is written.
  ///
  /// - Parameters:
  ///   - first: the first moment.
  ///   - second: the second moment.
  ///   - shape: of both, up to 32 lengths.
  ///   - fallback: as `Addition.pair` has it.
  ///   - nonFinite: what to do with NaN and ±∞.
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
  private let encoder: PairEncoder
  /// What keeps every update to a bound; nil where none is asked for.
  private let bounded: BoundedPairEncoder?
  /// ε of the update that is measured; nil to measure none.
  private let epsilon: Double?

  /// Both tensors are quantized, the first in the update domain.
  init(
    sources: (first: any TensorSource, second: any TensorSource),
    chunks: (first: ChunkPreparation, second: ChunkPreparation), epsilon: Double?, bound: TensorBound?
  ) throws(QCodecError) {
    guard let first = chunks.first.encoder, let second = chunks.second.encoder else {
      preconditionFailure("a pair of the update domain is quantized")
    }
    self.sources = sources
    self.chunks = chunks
    encoder = try PairEncoder(first: first, second: second)
    if case .update(let bound)? = bound {
      bounded = try BoundedPairEncoder(first: first, second: second, bound: bound)
    } else {
      bounded = nil
    }
    self.epsilon = epsilon
  }

  func prepare(_ index: Int) throws(QCodecError) -> Chunks {
    if let bounded { return try prepare(index, by: bounded) }
    let pool = chunks.first.pool
    let first = pool.buffer(encoder.first.layout.payloadByteCount(ofChunk: index))
    let second = pool.buffer(encoder.second.layout.payloadByteCount(ofChunk: index))
    let outcome = try unsafe chunks.second.withSource(ofChunk: index, from: sources.second) { v throws(QCodecError) in
      try unsafe chunks.first.withSource(ofChunk: index, from: sources.first) { m throws(QCodecError) in
        try unsafe encoder.encode(chunk: index, first: m, second: v, into: first.bytes, second.bytes, epsilon: epsilon)
      }
    }
    return Chunks(
      first: try chunks.first.finish(
        first, kind: .codes, chunk: chunks.first.plan.scaleChunks + index, statistics: outcome.first),
      second: try chunks.second.finish(
        second, kind: .codes, chunk: chunks.second.plan.scaleChunks + index, statistics: outcome.second),
      error: outcome.update)
  }

  private func prepare(_ index: Int, by bounded: BoundedPairEncoder) throws(QCodecError) -> Chunks {
    let made = try unsafe chunks.second.withSource(ofChunk: index, from: sources.second) { v throws(QCodecError) in
      try unsafe chunks.first.withSource(ofChunk: index, from: sources.first) { m throws(QCodecError) in
        try unsafe bounded.encode(chunk: index, first: m, second: v, epsilon: epsilon)
      }
    }
    return Chunks(
      first: try chunks.first.finish(
        made.first, kind: .codes, chunk: chunks.first.plan.scaleChunks + index, statistics: made.outcome.first),
      second: try chunks.second.finish(
        made.second, kind: .codes, chunk: chunks.second.plan.scaleChunks + index, statistics: made.outcome.second),
      error: made.outcome.update)
  }
}
