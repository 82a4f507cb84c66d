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

  /// The sizes of a tensor's chunks.
  private enum Sizes {
    /// Of a lossless tensor, or one under block scaling that is known to have a layout.
    case lossless(bytes: UInt64)
    case blocks(StoredScheme, elements: UInt64)
    indirect case planned(ChunkPlan)

    var count: UInt64 {
      switch self {
      case .lossless(let bytes): ChunkPlan.losslessCount(bytes)
      case .blocks(_, let elements):
        elements / UInt64(TensorLayout.chunkElements) + (elements % UInt64(TensorLayout.chunkElements) == 0 ? 0 : 1)
      case .planned(let plan): plan.count
      }
    }

    func chunk(_ index: Int) -> (kind: ChunkKind, rawLength: Int) {
      switch self {
      case .lossless(let bytes): return (.lossless, ChunkPlan.losslessLength(bytes, chunk: index))
      case .blocks(let stored, let elements):
        let rest = elements - UInt64(index) * UInt64(TensorLayout.chunkElements)
        let count = Int(min(rest, UInt64(TensorLayout.chunkElements)))
        return (.codes, TensorLayout.payloadByteCount(elements: count, scheme: stored.scheme))
      case .planned(let plan): return plan.chunk(index)
      }
    }
  }

  private func refuse(_ message: String, _ chunk: Int, tensor: Int? = nil) -> QCodecError {
    QCodecError(
      .invalidChunkTable, message, offset: base + UInt64(chunk * Format.chunkRecordSize),
      tensor: tensor.map { String(decoding: directory.name($0), as: UTF8.self) })
  }

  func run() throws(QCodecError) {
    let referred = try checkReferences()
    // Schemes under block scaling of which a tensor had a layout: whether one has does not depend on its shape.
    var known = [Bool](repeating: false, count: directory.schemes.count)
    for tensor in 0..<directory.count {
      let record = directory.tensor(tensor)
      try checkStride(of: tensor, record, isReferred: !referred.isEmpty && referred[tensor])
      let count = try sizes(of: tensor, known: &known).count
      guard count == record.chunkCount else {
        throw refuse(
          "\(record.chunkCount) chunks where shape and scheme make \(count)", Int(record.firstChunk), tensor: tensor)
      }
    }
    var seen = [UInt32](repeating: 0, count: directory.count)
    var next = UInt64(Format.headerSize)
    for index in 0..<directory.chunkCount {
      let chunk = directory.chunk(index)
      let tensor = Int(chunk.tensor)
      guard tensor < seen.count else { throw refuse("a chunk of tensor \(tensor)", index) }
      // Where chunks alternate, places follow from the second moment's first chunk; the record is to say the same.
      let (places, own) = (directory.places(tensor), Int(seen[tensor]))
      guard own < places.count, places[own] == index,
        own > 0 || directory.tensor(tensor).firstChunk == UInt64(index)
      else { throw refuse("a chunk that its tensor does not own", index, tensor: tensor) }
      try check(chunk, index, of: tensor, own, try sizes(of: tensor, known: &known), next: &next)
      seen[tensor] += 1
    }
    guard Format.aligned(next) == end else {
      throw refuse("the chunks end at byte \(next), the metadata begin at \(end)", directory.chunkCount)
    }
    if let tensor = seen.indices.first(where: { UInt64(seen[$0]) < directory.tensor($0).chunkCount }) {
      throw refuse("a tensor without its chunks", 0, tensor: tensor)
    }
  }

  private func check(
    _ chunk: ChunkRecord, _ index: Int, of tensor: Int, _ own: Int, _ sizes: Sizes, next: inout UInt64
  ) throws(QCodecError) {
    let (kind, rawLength) = sizes.chunk(own)
    guard chunk.kind == kind, Int(chunk.rawLength) == rawLength else {
      throw refuse("a chunk is not what shape and scheme make", index, tensor: tensor)
    }
    let expected = Lead.storedOffset(after: next, preambleLength: own == 0 ? preambleByteCount(tensor) : 0)
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

  private func preambleByteCount(_ tensor: Int) -> Int {
    let record = directory.tensor(tensor)
    let scheme = directory.scheme(tensor)
    return Preamble.byteCount(
      nameLength: Int(record.nameLength), dims: Int(record.dimCount), isUpdate: scheme?.isUpdate == true,
      tableBytes: scheme?.tableBytes ?? 0)
  }

  /// The sizes of a tensor's chunks; a scheme that a writer would have resolved to another is refused.
  private func sizes(of tensor: Int, known: inout [Bool]) throws(QCodecError) -> Sizes {
    guard let stored = directory.scheme(tensor) else { return .lossless(bytes: directory.sourceBytes(tensor)) }
    let number = Int(directory.schemeNumbers[tensor])
    let elements = directory.elementCount(tensor)
    if stored.block > 0, elements < 1 << 60, known[number] { return .blocks(stored, elements: elements) }
    do throws(QCodecError) {
      let plan = try directory.plan(tensor)
      guard plan.layout?.scheme == stored.scheme else {
        throw QCodecError(.invalidScheme, "a scaling that this shape cannot have")
      }
      if stored.block > 0 { known[number] = true }
      return .planned(plan)
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
  /// both alternate. Returns which tensors are referred to; nothing where no tensor refers to another.
  private func checkReferences() throws(QCodecError) -> [Bool] {
    guard directory.schemes.contains(where: \.isUpdate) else { return [] }
    var referred = [Bool](repeating: false, count: directory.count)
    for tensor in 0..<directory.count {
      guard let second = directory.tensor(tensor).reference else { continue }
      guard second < directory.count, second != tensor else {
        throw refuse(reference: "a reference to tensor \(second)", of: tensor)
      }
      guard directory.scheme(second)?.isReferable == true else {
        throw refuse(reference: "a reference to a tensor that is no second moment to divide by", of: tensor)
      }
      guard directory.shape(second) == directory.shape(tensor) else {
        throw refuse(reference: "a reference to a tensor of another shape", of: tensor)
      }
      guard !referred[second] else { throw refuse(reference: "a second reference to one tensor", of: tensor) }
      referred[second] = true
    }
    return referred
  }

  private func checkStride(of tensor: Int, _ record: TensorFields, isReferred: Bool) throws(QCodecError) {
    let isPaired = (isReferred || record.reference != nil) && directory.elementCount(tensor) > 0
    guard record.stride == (isPaired ? 2 : 1) else {
      throw QCodecError(
        .invalidChunkTable, "a chunk stride of \(record.stride)", offset: place(of: tensor) + 53,
        tensor: String(decoding: directory.name(tensor), as: UTF8.self))
    }
  }

  private func refuse(reference message: String, of tensor: Int) -> QCodecError {
    QCodecError(
      .invalidReference, message, offset: place(of: tensor) + 56,
      tensor: String(decoding: directory.name(tensor), as: UTF8.self))
  }
}
