import QCodec

/// A chunk ready to be written.
struct PreparedChunk: Sendable {
  let stored: PooledBuffer
  let rawLength: Int
  let compression: Compression
  let kind: ChunkKind
  let hash: UInt64
  let statistics: TensorStatistics
  let relation: ChunkRelation

  /// A chunk of a payload that `compressed`, where there is one, holds after the lossless stage.
  init(
    _ payload: PooledBuffer, kind: ChunkKind, compressed: (bytes: PooledBuffer, by: Compression)?,
    statistics: TensorStatistics = TensorStatistics(), relation: ChunkRelation = .own
  ) {
    stored = compressed?.bytes ?? payload
    compression = compressed?.by ?? .none
    rawLength = payload.count
    self.kind = kind
    self.statistics = statistics
    self.relation = relation
    hash = unsafe xxh3(stored.contents)
  }

  /// A chunk of stored bytes that were written before.
  init(_ stored: PooledBuffer, kind: ChunkKind, rawLength: Int, compression: Compression, hash: UInt64) {
    self.stored = stored
    self.rawLength = rawLength
    self.compression = compression
    self.kind = kind
    self.hash = hash
    statistics = TensorStatistics()
    relation = .own
  }

  /// A chunk that is the base's; it keeps the checksum of its payload.
  init(equalToBase payload: UnsafeRawBufferPointer, kind: ChunkKind, statistics: TensorStatistics, pool: BufferPool) {
    stored = pool.buffer(0)
    rawLength = payload.count
    compression = .none
    self.kind = kind
    self.statistics = statistics
    relation = .equal
    hash = unsafe xxh3(payload)
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
  private let dtype: DType
  /// What the base has in the tensor's place.
  private let base: BaseTensor?
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
    dtype = tensor.dtype
    base = options.base.flatMap { BaseTensor($0, named: options.baseName, like: tensor, layout: layout) }
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
    guard let encoder, let layout = plan.layout else { return try unsafe lossless(source, chunk: index) }
    if let bounded {
      let made = try unsafe bounded.encode(chunk: index, source: source)
      return try finish(
        made.payload, kind: .codes, chunk: plan.scaleChunks + index, statistics: made.statistics)
    }
    let payload = pool.buffer(layout.payloadByteCount(ofChunk: index))
    let statistics = try unsafe encoder.encode(chunk: index, source: source, into: payload.bytes)
    return try finish(payload, kind: .codes, chunk: plan.scaleChunks + index, statistics: statistics)
  }

  /// One chunk of the scale vector, plain: what a reader keeps in memory whole is never larger than the file.
  func prepare(scales: ArraySlice<Float>, chunk: Int) throws(QCodecError) -> PreparedChunk {
    let payload = pool.buffer(4 * scales.count)
    unsafe scales.withUnsafeBytes { unsafe payload.bytes.copyMemory(from: $0) }
    let statistics = TensorStatistics()
    if let related = try unsafe related(payload.contents, kind: .scales, chunk: chunk, statistics: statistics) {
      return related
    }
    return PreparedChunk(payload, kind: .scales, compressed: nil)
  }

  /// A payload of codes, compressed and hashed; `chunk` is its number within the tensor.
  func finish(
    _ payload: [UInt8], kind: ChunkKind, chunk: Int, statistics: TensorStatistics
  ) throws(QCodecError) -> PreparedChunk {
    let buffer = pool.buffer(payload.count)
    unsafe payload.withUnsafeBytes { unsafe buffer.bytes.copyMemory(from: $0) }
    return try finish(buffer, kind: kind, chunk: chunk, statistics: statistics)
  }

  /// The same in a pooled buffer.
  func finish(
    _ payload: PooledBuffer, kind: ChunkKind, chunk: Int, statistics: TensorStatistics = TensorStatistics()
  ) throws(QCodecError) -> PreparedChunk {
    if let related = try unsafe related(payload.contents, kind: kind, chunk: chunk, statistics: statistics) {
      return related
    }
    return PreparedChunk(
      payload, kind: kind, compressed: try unsafe compress(payload.contents, isCodes: true), statistics: statistics)
  }

  /// The smallest of what a payload of a lossless tensor can be stored as.
  private func lossless(_ source: UnsafeRawBufferPointer, chunk: Int) throws(QCodecError) -> PreparedChunk {
    if let related = try unsafe related(source, kind: .lossless, chunk: chunk, statistics: TensorStatistics()) {
      return related
    }
    return try unsafe alone(source, kind: .lossless)
  }

  /// A payload beside that of the base: nothing where they are equal, else the smaller of itself and the difference. nil where
  /// there is no base, or nothing to be gained by it.
  private func related(
    _ payload: UnsafeRawBufferPointer, kind: ChunkKind, chunk: Int, statistics: TensorStatistics
  ) throws(QCodecError) -> PreparedChunk? {
    // Chunks with escapes may be of another length there.
    guard let base, base.byteCount(ofChunk: chunk) == payload.count else { return nil }
    guard options.compression != .none, kind != .scales else {
      guard try unsafe base.holds(payload, chunk: chunk, pool: pool) else { return nil }
      return unsafe PreparedChunk(equalToBase: payload, kind: kind, statistics: statistics, pool: pool)
    }
    let before = pool.buffer(payload.count)
    try unsafe base.read(chunk: chunk, into: before.bytes)
    if unsafe payload.isEqual(to: before.contents) {
      return unsafe PreparedChunk(equalToBase: payload, kind: kind, statistics: statistics, pool: pool)
    }
    let alone = try unsafe alone(payload, kind: kind, statistics: statistics)
    let difference = try unsafe difference(of: payload, to: before.contents, kind: kind, statistics: statistics)
    guard let difference, difference.stored.count < alone.stored.count else { return alone }
    return difference
  }

  /// A payload as its difference to the base's; nil where that gains too little.
  private func difference(
    of payload: UnsafeRawBufferPointer, to before: UnsafeRawBufferPointer, kind: ChunkKind,
    statistics: TensorStatistics
  ) throws(QCodecError) -> PreparedChunk? {
    var steps = pool.buffer(payload.count)
    let wordSize = Difference.wordSize(kind, dtype)
    unsafe Difference.take(of: payload, to: before, wordSize: wordSize, into: steps.bytes)
    if kind == .lossless, planes > 1 {
      let split = pool.buffer(payload.count)
      unsafe BytePlanes.split(steps.contents, planes: planes, into: split.bytes)
      steps = split
    }
    // Not as codes are: where little has changed, short matches are what there is.
    guard let compressed = try unsafe compress(steps.contents, isCodes: false) else { return nil }
    return PreparedChunk(
      steps, kind: kind, compressed: compressed, statistics: statistics, relation: .difference)
  }

  /// A payload by itself.
  func alone(
    _ source: UnsafeRawBufferPointer, kind: ChunkKind, statistics: TensorStatistics = TensorStatistics()
  ) throws(QCodecError) -> PreparedChunk {
    let payload = pool.buffer(source.count)
    if options.compression != .none, kind == .lossless, planes > 1 {
      unsafe BytePlanes.split(source, planes: planes, into: payload.bytes)
      if let compressed = try unsafe compress(payload.contents, isCodes: false) {
        return PreparedChunk(payload, kind: kind, compressed: compressed, statistics: statistics)
      }
      // Planes alone gain nothing: what does not compress is stored as it came.
      unsafe payload.bytes.copyMemory(from: source)
      return PreparedChunk(payload, kind: kind, compressed: nil, statistics: statistics)
    }
    unsafe payload.bytes.copyMemory(from: source)
    return PreparedChunk(
      payload, kind: kind, compressed: try unsafe compress(payload.contents, isCodes: kind == .codes),
      statistics: statistics)
  }

  private func compress(
    _ source: UnsafeRawBufferPointer, isCodes: Bool
  ) throws(QCodecError) -> (bytes: PooledBuffer, by: Compression)? {
    guard options.compression != .none else { return nil }
    let target = pool.buffer(options.compression.bound(source.count))
    guard
      let count = try unsafe options.compression.compress(
        source, level: options.zstdLevel, isCodes: isCodes, into: target.bytes)
    else { return nil }
    target.shrink(to: count)
    return (target, options.compression)
  }
}
