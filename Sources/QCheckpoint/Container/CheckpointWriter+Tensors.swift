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

  // MARK: Chunks

  /// Prepares chunks on the threads, a few at a time, and writes them in order.
  func writeChunks(
    _ count: Int, to tensor: inout OpenTensor,
    prepare: @escaping @Sendable (Int) throws(QCodecError) -> PreparedChunk
  ) throws(QCodecError) {
    try orderedPipeline(count: count, threads: options.threads, produce: prepare) { chunk throws(QCodecError) in
      try take(chunk, into: &tensor)
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
