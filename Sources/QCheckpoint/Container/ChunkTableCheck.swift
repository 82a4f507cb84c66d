import QCodec

/// Checks the chunk table in one pass over the file's order: no holes, no overlaps, no strangers.
///
/// Between chunks stand only leads, whose lengths follow from names and shapes.
struct ChunkTableCheck {
  let directory: Directory
  /// Where the tensor records and the chunk table stand in the file.
  let records: UInt64
  let base: UInt64
  /// Where the chunks end: the metadata.
  let end: UInt64

  private func refuse(_ message: String, _ chunk: Int, tensor: Int? = nil) -> QCodecError {
    QCodecError(
      .invalidChunkTable, message, offset: base + UInt64(chunk * Format.chunkRecordSize),
      tensor: tensor.map { String(decoding: directory.name($0), as: UTF8.self) })
  }

  func run() throws(QCodecError) {
    var index = 0
    var next = UInt64(Format.headerSize)
    while index < directory.chunks.count {
      let tensor = Int(directory.chunks[index].tensor)
      guard tensor < directory.records.count else { throw refuse("a chunk of tensor \(tensor)", index) }
      let record = directory.records[tensor]
      guard record.firstChunk == UInt64(index), record.chunkCount > 0 else {
        throw refuse("a chunk that its tensor does not own", index, tensor: tensor)
      }
      try checkTensor(tensor, next: &next)
      index += Int(record.chunkCount)
    }
    guard Format.aligned(next) == end else {
      throw refuse("the chunks end at byte \(next), the metadata begin at \(end)", index)
    }
    // Every chunk has one owner; what is left is a tensor whose chunks are all missing.
    let owned = directory.records.reduce(0) { $0 + $1.chunkCount }
    guard owned == UInt64(directory.chunks.count) else { throw refuse("tensors share chunks", 0) }
    for (tensor, record) in directory.records.enumerated() where record.chunkCount == 0 {
      guard try plan(of: tensor).count == 0 else { throw refuse("a tensor without its chunks", 0, tensor: tensor) }
    }
  }

  private func checkTensor(_ tensor: Int, next: inout UInt64) throws(QCodecError) {
    let record = directory.records[tensor]
    let first = Int(record.firstChunk)
    let plan = try plan(of: tensor)
    guard plan.count == record.chunkCount else {
      throw refuse("\(record.chunkCount) chunks where shape and scheme make \(plan.count)", first, tensor: tensor)
    }
    let preamble = Preamble.byteCount(
      nameLength: Int(record.nameLength), dims: Int(record.dimCount), scheme: record.scheme)
    for index in 0..<Int(record.chunkCount) {
      let chunk = directory.chunks[first + index]
      let (kind, rawLength) = plan.chunk(index)
      guard Int(chunk.tensor) == tensor, chunk.kind == kind, Int(chunk.rawLength) == rawLength else {
        throw refuse("a chunk is not what shape and scheme make", first + index, tensor: tensor)
      }
      let expected = Lead.storedOffset(after: next, preambleLength: index == 0 ? preamble : 0)
      guard chunk.offset == expected else {
        throw refuse("a chunk at byte \(chunk.offset), not \(expected)", first + index, tensor: tensor)
      }
      let plain = chunk.compression == .none
      guard plain ? chunk.storedLength == chunk.rawLength : chunk.storedLength < chunk.rawLength else {
        throw refuse("\(chunk.storedLength) stored bytes for \(chunk.rawLength)", first + index, tensor: tensor)
      }
      next = chunk.offset + UInt64(chunk.storedLength)
      guard next <= end else {
        throw refuse("a chunk reaches beyond the chunks' end", first + index, tensor: tensor)
      }
    }
  }

  /// The tensor's plan; a scheme that a writer would have resolved to another is refused.
  private func plan(of tensor: Int) throws(QCodecError) -> ChunkPlan {
    let record = directory.records[tensor]
    do throws(QCodecError) {
      let plan = try directory.plan(tensor)
      if let layout = plan.layout, layout.scheme != record.scheme {
        throw QCodecError(.invalidScheme, "a scaling that this shape cannot have")
      }
      return plan
    } catch {
      throw QCodecError(
        error.code == .unsupportedScheme ? .invalidScheme : error.code, error.message,
        offset: records + UInt64(tensor * Format.tensorRecordSize),
        tensor: String(decoding: directory.name(tensor), as: UTF8.self))
    }
  }
}
