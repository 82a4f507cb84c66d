import QCodec

extension CheckpointReader {
  /// A reader of tensors that a scan found whole, without what only a directory tells.
  convenience init(salvaged found: [SalvageScan.Found], source: any TensorSource, file: InputFile?) {
    let sorted = found.sorted { $0.preamble.name.lexicographicallyPrecedes($1.preamble.name) }
    var (records, dims, names): ([TensorRecord], [UInt64], [UInt8]) = ([], [], [])
    var chunks: [ChunkRecord] = []
    for (number, tensor) in sorted.enumerated() {
      let preamble = tensor.preamble
      var record = TensorRecord(dtype: preamble.dtype)
      record.nameOffset = UInt64(names.count)
      record.nameLength = UInt32(preamble.name.count)
      record.dimsIndex = UInt64(dims.count)
      record.dimCount = UInt8(preamble.shape.count)
      record.firstChunk = UInt64(chunks.count)
      record.chunkCount = tensor.plan.count
      record.elementCount = (try? TensorLayout.elementCount(of: preamble.shape)) ?? 0
      record.sourceBytes = tensor.plan.sourceBytes
      record.scheme = preamble.scheme
      record.statistics.guaranteedMaxAbsError = preamble.scheme == nil ? 0 : .nan
      records.append(record)
      dims += preamble.shape
      names += preamble.name
      for index in 0..<Int(tensor.plan.count) {
        guard var chunk = tensor.chunks[index] else { preconditionFailure("a whole tensor lacks a chunk") }
        chunk.tensor = UInt32(number)
        chunks.append(chunk)
      }
    }
    self.init(
      directory: Directory(records: records, dims: dims, chunks: chunks, names: names), source: source, file: file)
  }
}
