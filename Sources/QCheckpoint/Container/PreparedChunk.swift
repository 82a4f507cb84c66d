import QCodec

/// A chunk ready to be written.
struct PreparedChunk: Sendable {
  let stored: [UInt8]
  let rawLength: Int
  let compression: Compression
  let kind: ChunkKind
  let hash: UInt64
  var statistics = TensorStatistics()

  /// Puts a payload through the lossless stage; a lossless payload is transposed by its element size first.
  init(_ payload: [UInt8], kind: ChunkKind, planes: Int = 1, options: WriterOptions) throws(QCodecError) {
    var source = payload
    if options.compression != .none, planes > 1 {
      unsafe payload.withUnsafeBytes { payload in
        unsafe source.withUnsafeMutableBytes { unsafe BytePlanes.split(payload, planes: planes, into: $0) }
      }
    }
    let compressed = try options.compression.compress(source, level: options.zstdLevel)
    stored = compressed ?? payload
    compression = compressed == nil ? .none : options.compression
    rawLength = payload.count
    self.kind = kind
    hash = xxh3(stored)
  }
}

/// Makes the data chunks of one tensor out of its source bytes, in any order and on any thread.
struct ChunkPreparation: Sendable {
  let plan: ChunkPlan
  /// nil for lossless tensors.
  let encoder: ChunkEncoder?
  let planes: Int
  let options: WriterOptions

  /// Where the source of data chunk `index` lies in the tensor.
  func sourceRange(ofChunk index: Int) -> Range<UInt64> {
    guard let layout = plan.layout else {
      let start = UInt64(index) * UInt64(Format.losslessChunk)
      return start..<start + UInt64(plan.chunk(index).rawLength)
    }
    let elements = layout.elements(ofChunk: index)
    let size = UInt64(layout.dtype.bitWidth / 8)
    return elements.lowerBound * size..<elements.upperBound * size
  }

  /// The bytes of the source that data chunk `index` holds.
  func source(ofChunk index: Int, from source: any TensorSource) throws(QCodecError) -> [UInt8] {
    let range = sourceRange(ofChunk: index)
    return try source.bytes(at: range.lowerBound, count: Int(range.upperBound - range.lowerBound))
  }

  /// A data chunk before the lossless stage, and what encoding did to it.
  struct Payload {
    let bytes: [UInt8]
    let kind: ChunkKind
    let statistics: TensorStatistics
  }

  /// Encodes the source of one data chunk; `divisors` as `ChunkEncoder.encode` takes them.
  func payload(_ index: Int, _ source: [UInt8], divisors: [Float] = []) throws(QCodecError) -> Payload {
    guard let encoder, let layout = plan.layout else {
      return Payload(bytes: source, kind: .lossless, statistics: TensorStatistics())
    }
    var payload = [UInt8](repeating: 0, count: layout.payloadByteCount(ofChunk: index))
    let statistics = try unsafe source.withBytes { source throws(QCodecError) in
      try unsafe payload.withMutableBytes { payload throws(QCodecError) in
        try unsafe encoder.encode(chunk: index, source: source, divisors: divisors, into: payload)
      }
    }
    return Payload(bytes: payload, kind: .codes, statistics: statistics)
  }

  /// Transposes, compresses and hashes what `payload` made.
  func finish(_ payload: Payload) throws(QCodecError) -> PreparedChunk {
    let planes = payload.kind == .lossless ? planes : 1
    var chunk = try PreparedChunk(payload.bytes, kind: payload.kind, planes: planes, options: options)
    chunk.statistics = payload.statistics
    return chunk
  }

  /// One data chunk from its source bytes.
  func prepare(_ index: Int, _ source: [UInt8]) throws(QCodecError) -> PreparedChunk {
    try finish(try payload(index, source))
  }
}
