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

/// What a tensor's values may turn its scheme into.
struct FallbackChoice {
  let name: String
  let nonFinite: NonFinitePolicy
  let negativeFallsBack: Bool
}

extension CheckpointWriter {
  // MARK: Lossless

  func writeLossless(_ source: any TensorSource, dtype: DType) throws(QCodecError) {
    let plan = ChunkPlan(layout: nil, sourceBytes: source.byteCount)
    let options = self.options
    try writeChunks(Int(plan.dataChunks)) { index throws(QCodecError) in
      let offset = UInt64(index) * UInt64(Format.losslessChunk)
      let bytes = try source.bytes(at: offset, count: plan.chunk(index).rawLength)
      return try PreparedChunk(bytes, kind: .lossless, planes: dtype.planeCount, options: options)
    }
  }

  // MARK: Quantized

  func writeQuantized(
    _ source: any TensorSource, layout: TensorLayout, choice: FallbackChoice, record: inout TensorRecord
  ) throws(QCodecError) {
    let pass = try firstPass(source, layout: layout, choice: choice)
    guard let scales = pass.scales else {
      record.reason = pass.reason
      return try writeLossless(source, dtype: layout.dtype)
    }
    let encoder = try ChunkEncoder(layout: layout, name: choice.name, scales: scales)
    let options = self.options
    try writeChunks(layout.scaleChunkCount) { index throws(QCodecError) in
      let range = layout.scales(ofChunk: index)
      let bytes = unsafe scales[range].withUnsafeBytes { unsafe [UInt8]($0) }
      return try PreparedChunk(bytes, kind: .scales, options: options)
    }
    try writeChunks(layout.codeChunkCount, statistics: &record.statistics) { index throws(QCodecError) in
      let bytes = try source.chunk(index, of: layout)
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
    record.scheme = layout.scheme
    record.table = layout.table
    record.guaranteedRelative = .nan
  }

  /// Looks the tensor over: its scale vector, or nil with the reason why it is to be lossless.
  private func firstPass(
    _ source: any TensorSource, layout: TensorLayout, choice: FallbackChoice
  ) throws(QCodecError) -> (scales: [Float]?, reason: FallbackReason) {
    let scansNegative = !layout.scheme.signed && choice.negativeFallsBack
    let needsScales = ScalePass.isNeeded(for: layout)
    // Otherwise the encoder meets every value that decides anything, and then the whole file is given up.
    guard needsScales || scansNegative || choice.nonFinite == .raw else { return ([], .none) }
    let pass = ScalePass(layout: layout)
    var scan = ValueScan()
    for index in 0..<layout.codeChunkCount {
      let bytes = try source.chunk(index, of: layout)
      let first = layout.elements(ofChunk: index).lowerBound
      unsafe bytes.withUnsafeBytes { unsafe scan.scan(source: $0, dtype: layout.dtype, startingAt: first) }
      if let found = scan.firstNonFinite {
        if choice.nonFinite == .raw { return (nil, .nonFinite) }
        throw ValueScan.nonFinite(found, tensor: choice.name)
      }
      if let found = scan.firstNegative, !layout.scheme.signed, !choice.negativeFallsBack {
        throw ValueScan.negative(found, tensor: choice.name)
      }
      if needsScales {
        try unsafe bytes.withBytes { bytes throws(QCodecError) in
          try unsafe pass.accumulate(chunk: index, source: bytes)
        }
      }
    }
    if scan.firstNegative != nil, scansNegative { return (nil, .negative) }
    return (pass.finish(), .none)
  }

  // MARK: Chunks

  /// Prepares chunks on the threads, a few at a time, and writes them in order.
  private func writeChunks(
    _ count: Int, prepare: @escaping @Sendable (Int) throws(QCodecError) -> PreparedChunk
  ) throws(QCodecError) {
    var statistics = TensorStatistics()
    try writeChunks(count, statistics: &statistics, prepare: prepare)
  }

  private func writeChunks(
    _ count: Int, statistics: inout TensorStatistics,
    prepare: @escaping @Sendable (Int) throws(QCodecError) -> PreparedChunk
  ) throws(QCodecError) {
    let group = options.threads * 2
    for start in stride(from: 0, to: count, by: group) {
      let size = min(group, count - start)
      let results = ResultSlots<PreparedChunk>(count: size)
      try parallelFor(count: size, threads: options.threads) { index throws(QCodecError) in
        results[index] = try prepare(start + index)
      }
      for chunk in results.inOrder {
        withCodecEnvironment { statistics.append(chunk.statistics) }
        try append(chunk)
      }
    }
  }
}

extension TensorSource {
  /// The bytes of a range.
  func bytes(at offset: UInt64, count: Int) throws(QCodecError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in try unsafe read(at: offset, into: buffer) }
    return bytes
  }

  /// The source of a code chunk.
  func chunk(_ index: Int, of layout: TensorLayout) throws(QCodecError) -> [UInt8] {
    let offset = layout.elements(ofChunk: index).lowerBound * UInt64(layout.dtype.bitWidth / 8)
    return try bytes(at: offset, count: layout.sourceByteCount(ofChunk: index))
  }
}
