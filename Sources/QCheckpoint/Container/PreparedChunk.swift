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
    let source = options.compression == .none ? payload : BytePlanes.split(payload, planes: planes)
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

  /// The bytes of the source that data chunk `index` holds.
  func sourceRange(ofChunk index: Int) -> Range<UInt64> {
    guard let layout = plan.layout else {
      let start = UInt64(index) * UInt64(Format.losslessChunk)
      return start..<start + UInt64(plan.chunk(index).rawLength)
    }
    let elements = layout.elements(ofChunk: index)
    let size = UInt64(layout.dtype.bitWidth / 8)
    return elements.lowerBound * size..<elements.upperBound * size
  }

  /// Encodes or transposes, compresses and hashes one data chunk.
  func prepare(_ index: Int, _ bytes: [UInt8]) throws(QCodecError) -> PreparedChunk {
    guard let encoder, let layout = plan.layout else {
      return try PreparedChunk(bytes, kind: .lossless, planes: planes, options: options)
    }
    var payload = [UInt8](repeating: 0, count: layout.payloadByteCount(ofChunk: index))
    let statistics = try unsafe bytes.withBytes { bytes throws(QCodecError) in
      try unsafe payload.withMutableBytes { payload throws(QCodecError) in
        try unsafe encoder.encode(chunk: index, source: bytes, into: payload)
      }
    }
    var chunk = try PreparedChunk(payload, kind: .codes, options: options)
    chunk.statistics = statistics
    return chunk
  }
}
