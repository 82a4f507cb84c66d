import QCodec

/// Checks the chunk table in one pass over the file's order: no holes, no overlaps, no strangers.
///
/// Between chunks stand only leads, whose lengths follow from names and shapes. Memory: 4 bytes a tensor.
struct ChunkTableCheck {
  let directory: Directory
  /// Where the tensor records stand in the file.
  let recordsBase: UInt64
  /// Where the chunk table stands in the file.
  let base: UInt64
  /// Where the chunks end: the metadata.
  let end: UInt64
  /// Whether any tensor refers to another or has chunks that alternate.
  let hasPairs: Bool

  private func refuse(_ message: String, _ chunk: Int, tensor: Int? = nil) -> QCodecError {
    QCodecError(
      .invalidChunkTable, message, offset: base + UInt64(chunk * Format.chunkRecordSize), tensor: tensor.map(name))
  }

  private func name(_ tensor: Int) -> String { String(decoding: directory.name(tensor), as: UTF8.self) }

  func run() throws(QCodecError) {
    if hasPairs { try checkStrides(referred: checkReferences()) }
    try checkCounts()
    var seen = [UInt32](repeating: 0, count: directory.count)
    var next = UInt64(Format.headerSize)
    for index in 0..<directory.chunkCount {
      let chunk = directory.storedChunk(index)
      let tensor = Int(chunk.tensor)
      guard tensor < seen.count else { throw refuse("a chunk of tensor \(tensor)", index) }
      let (stored, own) = (directory.tensor(tensor), Int(seen[tensor]))
      guard own < stored.chunkCount, place(of: own, tensor, stored) == index,
        own > 0 || stored.firstChunk == UInt64(index)
      else { throw refuse("a chunk that its tensor does not own", index, tensor: tensor) }
      try check(chunk, index, of: tensor, stored, own, next: &next)
      seen[tensor] += 1
    }
    guard Format.aligned(next) == end else {
      throw refuse("the chunks end at byte \(next), the metadata begin at \(end)", directory.chunkCount)
    }
    if let tensor = seen.indices.first(where: { UInt64(seen[$0]) < directory.tensor($0).chunkCount }) {
      throw refuse("a tensor without its chunks", 0, tensor: tensor)
    }
  }

  /// Where chunk `own` of a tensor is to stand in the table.
  @inline(__always)
  private func place(of own: Int, _ tensor: Int, _ stored: StoredTensor) -> Int {
    // Where chunks alternate, places follow from the second moment's first chunk; the record is to say the same.
    stored.stride == 1 && stored.reference == nil ? Int(stored.firstChunk) + own : directory.places(tensor)[own]
  }

  @inline(__always)
  private func check(
    _ chunk: StoredChunk, _ index: Int, of tensor: Int, _ stored: StoredTensor, _ own: Int, next: inout UInt64
  ) throws(QCodecError) {
    let (kind, rawLengths) = try size(of: own, tensor, stored)
    guard chunk.kindCode == kind.rawValue, rawLengths.contains(Int(chunk.rawLength)) else {
      throw refuse("a chunk is not what shape and scheme make", index, tensor: tensor)
    }
    let preamble = Preamble.byteCount(
      nameLength: stored.nameLength, dims: stored.dimCount, schemeBytes: directory.scheme(tensor)?.preambleBytes ?? 0)
    let expected = Lead.storedOffset(after: next, preambleLength: own == 0 ? preamble : 0)
    guard chunk.offset == expected else {
      throw refuse("a chunk at byte \(chunk.offset), not \(expected)", index, tensor: tensor)
    }
    guard let coding = ChunkCoding(code: chunk.compressionCode) else {
      throw refuse("unknown compression of a chunk", index, tensor: tensor)
    }
    guard coding.fits(kind) else {
      throw refuse(
        coding.relation == .own ? "a compressed chunk of scales" : "a difference of scales", index, tensor: tensor)
    }
    guard coding.fits(stored: Int(chunk.storedLength), raw: Int(chunk.rawLength)) else {
      throw refuse("\(chunk.storedLength) stored bytes for \(chunk.rawLength)", index, tensor: tensor)
    }
    next = chunk.offset + UInt64(chunk.storedLength)
    guard next <= end else { throw refuse("a chunk reaches beyond the chunks' end", index, tensor: tensor) }
  }

  // MARK: Sizes

  /// Each tensor has as many chunks as dtype, shape and scheme imply.
  private func checkCounts() throws(QCodecError) {
    for tensor in 0..<directory.count {
      let stored = directory.tensor(tensor)
      let count = try count(tensor, stored)
      guard count == stored.chunkCount else {
        throw refuse(
          "\(stored.chunkCount) chunks where shape and scheme make \(count)", Int(stored.firstChunk), tensor: tensor)
      }
    }
  }

  @inline(__always)
  private func count(_ tensor: Int, _ stored: StoredTensor) throws(QCodecError) -> UInt64 {
    guard let scheme = directory.scheme(tensor) else { return ChunkPlan.losslessCount(directory.sourceBytes(stored)) }
    if let sizes = directory.sizes(stored, scheme) { return sizes.count }
    return try plan(of: tensor).count
  }

  /// Kind and bytes before the lossless stage of chunk `own` of a tensor, how many they may be.
  @inline(__always)
  private func size(
    of own: Int, _ tensor: Int, _ stored: StoredTensor
  ) throws(QCodecError) -> (kind: ChunkKind, rawLengths: ClosedRange<Int>) {
    guard let scheme = directory.scheme(tensor) else {
      let length = ChunkPlan.losslessLength(directory.sourceBytes(stored), chunk: own)
      return (.lossless, length...length)
    }
    if let sizes = directory.sizes(stored, scheme) { return sizes.chunk(own) }
    return try plan(of: tensor).chunk(own)
  }

  /// The tensor's plan; a scheme that a writer would have resolved to another is refused.
  private func plan(of tensor: Int) throws(QCodecError) -> ChunkPlan {
    do throws(QCodecError) {
      let plan = try directory.plan(tensor)
      if let layout = plan.layout, layout.scheme != directory.record(tensor).scheme {
        throw QCodecError(.invalidScheme, "a scaling that this shape cannot have")
      }
      return plan
    } catch {
      throw QCodecError(
        error.code == .unsupportedScheme ? .invalidScheme : error.code, error.message,
        offset: place(of: tensor) + UInt64(TensorRecord.schemeOffset), tensor: name(tensor))
    }
  }

  private func place(of tensor: Int) -> UInt64 { recordsBase + UInt64(tensor * Format.tensorRecordSize) }

  // MARK: References

  /// A first moment of the update domain refers to a second moment of its shape that no other refers to; the chunks of
  /// both alternate. Returns which tensors are referred to.
  private func checkReferences() throws(QCodecError) -> [Bool] {
    var referred = [Bool](repeating: false, count: directory.count)
    for tensor in 0..<directory.count {
      guard let second = directory.tensor(tensor).reference else { continue }
      guard second < directory.count, second != tensor else {
        throw refuse(reference: "a reference to tensor \(second)", of: tensor)
      }
      guard directory.scheme(second)?.isReferable == true else {
        throw refuse(reference: "a reference to a tensor that is no second moment to divide by", of: tensor)
      }
      guard directory.haveSameShape(second, tensor) else {
        throw refuse(reference: "a reference to a tensor of another shape", of: tensor)
      }
      guard !referred[second] else { throw refuse(reference: "a second reference to one tensor", of: tensor) }
      referred[second] = true
    }
    return referred
  }

  private func checkStrides(referred: [Bool]) throws(QCodecError) {
    for tensor in 0..<directory.count {
      let stored = directory.tensor(tensor)
      let isReferring = stored.reference != nil || referred[tensor]
      guard stored.stride == (isReferring && directory.elementCount(stored) > 0 ? 2 : 1) else {
        throw QCodecError(
          .invalidChunkTable, "a chunk stride of \(stored.stride)", offset: place(of: tensor) + 53,
          tensor: name(tensor))
      }
    }
  }

  private func refuse(reference message: String, of tensor: Int) -> QCodecError {
    QCodecError(.invalidReference, message, offset: place(of: tensor) + 56, tensor: name(tensor))
  }
}
