import QCodec

/// A chunk ready to be written.
struct PreparedChunk: Sendable {
  let stored: PooledBuffer
  let rawLength: Int
  let compression: Compression
  let kind: ChunkKind
  let hash: UInt64
  let statistics: TensorStatistics

  /// A chunk of a payload that `compressed`, where there is one, holds after the lossless stage.
  init(
    _ payload: PooledBuffer, kind: ChunkKind, compressed: (bytes: PooledBuffer, by: Compression)?,
    statistics: TensorStatistics = TensorStatistics()
  ) {
    stored = compressed?.bytes ?? payload
    compression = compressed?.by ?? .none
    rawLength = payload.count
    self.kind = kind
    self.statistics = statistics
    hash = unsafe xxh3(stored.contents)
  }
}

/// Makes the chunks of one tensor, in any order and on any thread.
struct ChunkPreparation: Sendable {
  let plan: ChunkPlan
  /// nil for lossless tensors and for imports, whose codes are given.
  let encoder: ChunkEncoder?
  /// What keeps every element to a bound; nil where none is asked for, and for pairs.
  private let bounded: BoundedEncoder?
  let planes: Int
  let options: WriterOptions
  let pool: BufferPool

  init(
    _ tensor: TensorDescription, layout: TensorLayout?, scales: [Float], step: EncodingStep = .none,
    options: WriterOptions, pool: BufferPool, bound: ElementBound? = nil
  ) throws(QCodecError) {
    let elements = try TensorLayout.elementCount(of: tensor.shape)
    plan = ChunkPlan(layout: layout, sourceBytes: try tensor.dtype.byteCount(elements: elements))
    let encoded = layout?.scheme.rounding == .unknown ? nil : layout
    encoder = try encoded.map { layout throws(QCodecError) in
      try ChunkEncoder(layout: layout, name: tensor.name, scales: scales, step: step)
    }
    if let bound, let encoder { bounded = try BoundedEncoder(encoder, bound: bound) } else { bounded = nil }
    planes = tensor.dtype.planeCount
    self.pool = pool
    var own = options
    own.compression = tensor.compression ?? options.compression
    self.options = own
  }

  /// Where the source of data chunk `index` lies in the tensor.
  func sourceRange(ofChunk index: Int) -> Range<UInt64> {
    guard let layout = plan.layout else {
      let start = UInt64(index) * UInt64(Format.losslessChunk)
      return start..<start + UInt64(plan.chunk(index).rawLengths.lowerBound)
    }
    let elements = layout.elements(ofChunk: index)
    let size = UInt64(layout.dtype.bitWidth / 8)
    return elements.lowerBound * size..<elements.upperBound * size
  }

  /// Calls `body` with the bytes of the source that data chunk `index` holds.
  func withSource<Result>(
    ofChunk index: Int, from source: any TensorSource,
    _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    let range = sourceRange(ofChunk: index)
    return try unsafe source.withBytes(
      at: range.lowerBound, count: Int(range.upperBound - range.lowerBound), pool: pool, body)
  }

  /// One data chunk of a tensor of the value domain, or a lossless one, from its source bytes.
  func prepare(_ index: Int, _ source: UnsafeRawBufferPointer) throws(QCodecError) -> PreparedChunk {
    guard let encoder, let layout = plan.layout else { return try unsafe lossless(source) }
    if let bounded {
      let made = try unsafe bounded.encode(chunk: index, source: source)
      return try finish(made.payload, kind: .codes, statistics: made.statistics)
    }
    let payload = pool.buffer(layout.payloadByteCount(ofChunk: index))
    let statistics = try unsafe encoder.encode(chunk: index, source: source, into: payload.bytes)
    return try finish(payload, kind: .codes, statistics: statistics)
  }

  /// One chunk of the scale vector, plain: what a reader keeps in memory whole is never larger than the file.
  func prepare(scales: ArraySlice<Float>) -> PreparedChunk {
    let payload = pool.buffer(4 * scales.count)
    unsafe scales.withUnsafeBytes { unsafe payload.bytes.copyMemory(from: $0) }
    return PreparedChunk(payload, kind: .scales, compressed: nil)
  }

  /// Compresses and hashes a payload.
  func finish(
    _ payload: [UInt8], kind: ChunkKind, statistics: TensorStatistics
  ) throws(QCodecError) -> PreparedChunk {
    let buffer = pool.buffer(payload.count)
    unsafe payload.withUnsafeBytes { unsafe buffer.bytes.copyMemory(from: $0) }
    return try finish(buffer, kind: kind, statistics: statistics)
  }

  /// Compresses and hashes a payload.
  func finish(
    _ payload: PooledBuffer, kind: ChunkKind, statistics: TensorStatistics = TensorStatistics()
  ) throws(QCodecError) -> PreparedChunk {
    let compressed = try unsafe compress(payload.contents)
    return PreparedChunk(payload, kind: kind, compressed: compressed, statistics: statistics)
  }

  private func lossless(_ source: UnsafeRawBufferPointer) throws(QCodecError) -> PreparedChunk {
    let payload = pool.buffer(source.count)
    if options.compression != .none, planes > 1 {
      unsafe BytePlanes.split(source, planes: planes, into: payload.bytes)
      if let compressed = try unsafe compress(payload.contents) {
        return PreparedChunk(payload, kind: .lossless, compressed: compressed)
      }
      // Planes alone gain nothing: what does not compress is stored as it came.
      unsafe payload.bytes.copyMemory(from: source)
      return PreparedChunk(payload, kind: .lossless, compressed: nil)
    }
    unsafe payload.bytes.copyMemory(from: source)
    return try finish(payload, kind: .lossless)
  }

  private func compress(
    _ source: UnsafeRawBufferPointer
  ) throws(QCodecError) -> (bytes: PooledBuffer, by: Compression)? {
    guard options.compression != .none else { return nil }
    let target = pool.buffer(options.compression.bound(source.count))
    guard
      let count = try unsafe options.compression.compress(
        source, level: options.zstdLevel, isCodes: plan.layout != nil, into: target.bytes)
    else { return nil }
    target.shrink(to: count)
    return (target, options.compression)
  }
}
