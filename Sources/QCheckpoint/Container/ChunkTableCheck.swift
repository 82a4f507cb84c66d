import QCodec

/// Checks the chunk table in one pass over the file's order: no holes, no overlaps, no strangers.
///
/// Between chunks stand only leads, whose lengths follow from names and shapes.
struct ChunkTableCheck {
  let directory: Directory
  /// Where the tensor records stand in the file.
  let recordsBase: UInt64
  /// Where the chunk table stands in the file.
  let base: UInt64
  /// Where the chunks end: the metadata.
  let end: UInt64

  /// What is known of a tensor while its chunks go by.
  private struct Progress {
    let plan: ChunkPlan
    let places: ChunkPlaces
    var seen = 0
  }

  private func refuse(_ message: String, _ chunk: Int, tensor: Int? = nil) -> QCodecError {
    QCodecError(
      .invalidChunkTable, message, offset: base + UInt64(chunk * Format.chunkRecordSize),
      tensor: tensor.map { String(decoding: directory.name($0), as: UTF8.self) })
  }

  func run() throws(QCodecError) {
    try checkReferences()
    var progress: [Progress] = []
    progress.reserveCapacity(directory.records.count)
    for (tensor, record) in directory.records.enumerated() {
      let plan = try plan(of: tensor)
      guard plan.count == record.chunkCount else {
        throw refuse(
          "\(record.chunkCount) chunks where shape and scheme make \(plan.count)", Int(record.firstChunk),
          tensor: tensor)
      }
      progress.append(Progress(plan: plan, places: directory.places(tensor)))
    }
    var next = UInt64(Format.headerSize)
    for (index, chunk) in directory.chunks.enumerated() {
      let tensor = Int(chunk.tensor)
      guard tensor < progress.count else { throw refuse("a chunk of tensor \(tensor)", index) }
      // Where chunks alternate, places follow from the second moment's first chunk; the record is to say the same.
      guard progress[tensor].seen < progress[tensor].places.count,
        progress[tensor].places[progress[tensor].seen] == index,
        progress[tensor].seen > 0 || directory.records[tensor].firstChunk == UInt64(index)
      else { throw refuse("a chunk that its tensor does not own", index, tensor: tensor) }
      try check(chunk, index, of: tensor, progress[tensor], next: &next)
      progress[tensor].seen += 1
    }
    guard Format.aligned(next) == end else {
      throw refuse("the chunks end at byte \(next), the metadata begin at \(end)", directory.chunks.count)
    }
    if let tensor = progress.firstIndex(where: { $0.seen < $0.places.count }) {
      throw refuse("a tensor without its chunks", 0, tensor: tensor)
    }
  }

  private func check(
    _ chunk: ChunkRecord, _ index: Int, of tensor: Int, _ progress: Progress, next: inout UInt64
  ) throws(QCodecError) {
    let (kind, rawLength) = progress.plan.chunk(progress.seen)
    guard chunk.kind == kind, Int(chunk.rawLength) == rawLength else {
      throw refuse("a chunk is not what shape and scheme make", index, tensor: tensor)
    }
    let record = directory.records[tensor]
    let preamble = Preamble.byteCount(
      nameLength: Int(record.nameLength), dims: Int(record.dimCount), scheme: record.scheme)
    let expected = Lead.storedOffset(after: next, preambleLength: progress.seen == 0 ? preamble : 0)
    guard chunk.offset == expected else {
      throw refuse("a chunk at byte \(chunk.offset), not \(expected)", index, tensor: tensor)
    }
    let plain = chunk.compression == .none
    guard plain ? chunk.storedLength == chunk.rawLength : chunk.storedLength < chunk.rawLength else {
      throw refuse("\(chunk.storedLength) stored bytes for \(chunk.rawLength)", index, tensor: tensor)
    }
    next = chunk.offset + UInt64(chunk.storedLength)
    guard next <= end else { throw refuse("a chunk reaches beyond the chunks' end", index, tensor: tensor) }
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
        offset: place(of: tensor) + UInt64(TensorRecord.schemeOffset),
        tensor: String(decoding: directory.name(tensor), as: UTF8.self))
    }
  }

  private func place(of tensor: Int) -> UInt64 { recordsBase + UInt64(tensor * Format.tensorRecordSize) }

  // MARK: References

  /// A first moment of the update domain refers to a second moment of its shape that no other refers to; the chunks of
  /// both alternate.
  private func checkReferences() throws(QCodecError) {
    var referred: Set<Int> = []
    for (tensor, record) in directory.records.enumerated() {
      guard let second = record.reference else { continue }
      guard second < directory.records.count, second != tensor else {
        throw refuse(reference: "a reference to tensor \(second)", of: tensor)
      }
      let other = directory.records[second]
      guard other.scheme?.isReferable == true else {
        throw refuse(reference: "a reference to a tensor that is no second moment to divide by", of: tensor)
      }
      guard directory.shape(second) == directory.shape(tensor) else {
        throw refuse(reference: "a reference to a tensor of another shape", of: tensor)
      }
      guard referred.insert(second).inserted else {
        throw refuse(reference: "a second reference to one tensor", of: tensor)
      }
    }
    for (tensor, record) in directory.records.enumerated() {
      let isPaired = (record.reference != nil || referred.contains(tensor)) && record.elementCount > 0
      guard record.stride == (isPaired ? 2 : 1) else {
        throw QCodecError(
          .invalidChunkTable, "a chunk stride of \(record.stride)", offset: place(of: tensor) + 53,
          tensor: String(decoding: directory.name(tensor), as: UTF8.self))
      }
    }
  }

  private func refuse(reference message: String, of tensor: Int) -> QCodecError {
    QCodecError(
      .invalidReference, message, offset: place(of: tensor) + 56,
      tensor: String(decoding: directory.name(tensor), as: UTF8.self))
  }
}
