import QCodec

/// What a caller says of a tensor to be added.
struct TensorDescription {
  let name: String
  let dtype: DType
  let shape: [UInt64]
  let role: Role
  /// The lossless stage; nil for that of the whole checkpoint.
  var compression: Compression?
}

/// A tensor whose chunks are being written.
struct OpenTensor {
  /// What the directory will say; statistics grow with the chunks.
  var record: TensorRecord
  var preamble: Preamble
  /// Its place in the order of addition.
  let number: UInt32
  /// Its place in the order of first chunks, once it has one.
  var ordinal: UInt32 = 0
  /// Its chunks so far.
  var chunkCount: UInt64 = 0
}

extension CheckpointWriter {
  /// Writes the chunks of a tensor that can be read again; returns its record.
  func write(
    _ tensor: TensorDescription, encoding: Encoding, layout: TensorLayout?, source: any TensorSource,
    choice: FallbackChoice
  ) throws(QCodecError) -> TensorRecord {
    var scales: [Float] = []
    var (layout, reason) = (layout, encoding.reason)
    if let quantized = layout {
      let pass = try FirstPass.run(source, layout: quantized, choice: choice)
      if let found = pass.scales { scales = found } else { (layout, reason) = (nil, pass.reason) }
    }
    var open = try self.open(tensor, layout: layout, reason: reason)
    let chunks = try preparation(tensor, layout: layout, scales: scales)
    do throws(QCodecError) {
      try writeData(chunks, source: source, scales: scales, to: &open)
    } catch {
      guard error.code == .negativeValue, let layout else { throw error }
      // What is not finite counts wherever it stands; the encoder may not have come to it.
      _ = try FirstPass.run(source, layout: layout, choice: choice, isWhole: true)
      throw error
    }
    return open.record
  }

  /// Writes the chunks of one tensor: scales, then the data.
  func writeData(
    _ chunks: ChunkPreparation, source: any TensorSource, scales: [Float], to tensor: inout OpenTensor
  ) throws(QCodecError) {
    try writeScales(scales, chunks, to: &tensor)
    try writeChunks(Int(chunks.plan.dataChunks), to: &tensor) { index throws(QCodecError) in
      try chunks.prepare(index, try chunks.source(ofChunk: index, from: source))
    }
  }

  /// Begins a tensor whose layout is settled; nil for lossless.
  func open(
    _ tensor: TensorDescription, layout: TensorLayout?, reason: FallbackReason, number: Int? = nil
  ) throws(QCodecError) -> OpenTensor {
    var record = TensorRecord(dtype: tensor.dtype, role: tensor.role)
    record.elementCount = try TensorLayout.elementCount(of: tensor.shape)
    record.sourceBytes = try tensor.dtype.byteCount(elements: record.elementCount)
    record.dimCount = UInt8(tensor.shape.count)
    record.firstChunk = UInt64(chunks.count)
    record.reason = reason
    record.scheme = layout?.scheme
    record.table = layout?.table
    record.guaranteedRelative = layout == nil ? 0 : .nan
    let preamble = Preamble(
      name: Array(tensor.name.utf8), dtype: tensor.dtype, shape: tensor.shape, scheme: layout?.scheme)
    return OpenTensor(record: record, preamble: preamble, number: UInt32(number ?? tensors.count))
  }

  func preparation(
    _ tensor: TensorDescription, layout: TensorLayout?, scales: [Float]
  ) throws(QCodecError) -> ChunkPreparation {
    let elements = try TensorLayout.elementCount(of: tensor.shape)
    let plan = ChunkPlan(layout: layout, sourceBytes: try tensor.dtype.byteCount(elements: elements))
    let encoder = try layout.map { layout throws(QCodecError) in
      try ChunkEncoder(layout: layout, name: tensor.name, scales: scales)
    }
    return ChunkPreparation(
      plan: plan, encoder: encoder, planes: tensor.dtype.planeCount, options: options(of: tensor))
  }

  private func options(of tensor: TensorDescription) -> WriterOptions {
    var result = options
    result.compression = tensor.compression ?? result.compression
    return result
  }

  // MARK: Chunks

  func writeScales(
    _ scales: [Float], _ chunks: ChunkPreparation, to tensor: inout OpenTensor
  ) throws(QCodecError) {
    guard let layout = chunks.plan.layout else { return }
    try writeChunks(layout.scaleChunkCount, to: &tensor) { index throws(QCodecError) in
      let range = layout.scales(ofChunk: index)
      let bytes = unsafe scales[range].withUnsafeBytes { unsafe [UInt8]($0) }
      return try PreparedChunk(bytes, kind: .scales, options: chunks.options)
    }
  }

  /// Prepares chunks on the threads, a few at a time, and writes them in order.
  func writeChunks(
    _ count: Int, to tensor: inout OpenTensor,
    prepare: @escaping @Sendable (Int) throws(QCodecError) -> PreparedChunk
  ) throws(QCodecError) {
    for start in stride(from: 0, to: count, by: groupSize) {
      let size = min(groupSize, count - start)
      let results = ResultSlots<PreparedChunk>(count: size)
      try parallelFor(count: size, threads: options.threads) { index throws(QCodecError) in
        results[index] = try prepare(start + index)
      }
      for chunk in results.inOrder {
        try take(chunk, into: &tensor)
      }
    }
  }

  /// Writes a chunk and takes its statistics in.
  func take(_ chunk: PreparedChunk, into tensor: inout OpenTensor) throws(QCodecError) {
    withCodecEnvironment { tensor.record.statistics.append(chunk.statistics) }
    try append(chunk, to: &tensor)
  }

  /// Chunks that are in memory at a time.
  var groupSize: Int { options.threads * 2 }
}

extension Encoding {
  /// Why the tensor is not stored as its rule's scheme says.
  var reason: FallbackReason {
    switch self {
    case .lossless(let reason), .quantized(_, let reason): reason
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
