import QCodec

extension CheckpointReader {
  /// Calls `body` with the stored bytes of a chunk, checked against their checksum if they are to be.
  ///
  /// Throws `chunkCorrupt` with the chunk's place, its tensor, and number and elements in the message, `io`, and what
  /// `body` throws.
  private func withStored<Result>(
    ofChunk index: Int, checked: Bool, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    let record = directory.chunk(index)
    return try unsafe source.withBytes(
      at: record.offset, count: Int(record.storedLength), pool: pool
    ) { bytes throws(QCodecError) in
      if checked { try unsafe check(bytes, ofChunk: index) }
      return try unsafe body(bytes)
    }
  }

  private func check(_ stored: UnsafeRawBufferPointer, ofChunk index: Int) throws(QCodecError) {
    let record = directory.chunk(index)
    guard unsafe xxh3(stored) == record.hash else {
      throw QCodecError(
        .chunkCorrupt, "a chunk's checksum is wrong: \(location(ofChunk: index))", offset: record.offset,
        tensor: tensorName(ofChunk: index))
    }
  }

  /// Reads the stored bytes of a chunk for their checksum alone; throws as `payload(ofChunk:)`.
  func checkStored(ofChunk index: Int) throws(QCodecError) {
    try unsafe withStored(ofChunk: index, checked: true) { _ in }
  }

  /// Calls `body` with the payload of a chunk before the lossless stage: scales, codes, or source bytes.
  ///
  /// Throws as `payload(ofChunk:)`, and what `body` throws.
  func withPayload<Result>(
    ofChunk index: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    let record = directory.chunk(index)
    if record.compression == .none {
      return try unsafe withStored(ofChunk: index, checked: verifiesChecksums, body)
    }
    let payload = pool.buffer(Int(record.rawLength))
    try unsafe readPayload(ofChunk: index, into: payload.bytes)
    return try unsafe body(payload.contents)
  }

  /// Puts the payload of a chunk into exactly its bytes; throws as `payload(ofChunk:)`.
  func readPayload(ofChunk index: Int, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    let record = directory.chunk(index)
    guard record.compression != .none else {
      // Straight to where it belongs: nothing is copied but by the system.
      try unsafe source.read(at: record.offset, into: target)
      if verifiesChecksums { try unsafe check(UnsafeRawBufferPointer(target), ofChunk: index) }
      return
    }
    let planes = record.kind == .lossless ? directory.record(Int(record.tensor)).dtype.planeCount : 1
    try unsafe withStored(ofChunk: index, checked: verifiesChecksums) { stored throws(QCodecError) in
      guard planes > 1 else { return try unsafe decompress(stored, ofChunk: index, into: target) }
      let split = pool.buffer(target.count)
      try unsafe decompress(stored, ofChunk: index, into: split.bytes)
      unsafe BytePlanes.join(split.contents, planes: planes, into: target)
    }
  }

  private func decompress(
    _ stored: UnsafeRawBufferPointer, ofChunk index: Int, into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) {
    let record = directory.chunk(index)
    do throws(QCodecError) { try unsafe record.compression.decompress(stored, into: target) } catch {
      throw QCodecError(
        error.code, "\(error.message): \(location(ofChunk: index))", offset: record.offset,
        tensor: tensorName(ofChunk: index))
    }
  }

  /// The payload of a chunk before the lossless stage: scales, codes, or source bytes.
  ///
  /// Throws `chunkCorrupt` and `decompressionFailed` with the chunk's place and tensor, and its number, elements and rows in
  /// the message, and `io`.
  public func payload(ofChunk index: Int) throws(QCodecError) -> [UInt8] {
    var payload = [UInt8](repeating: 0, count: Int(directory.chunk(index).rawLength))
    try unsafe payload.withMutableBytes { target throws(QCodecError) in
      try unsafe readPayload(ofChunk: index, into: target)
    }
    return payload
  }

  /// The bytes of a chunk as they lie in the file, after the lossless stage; throws as `payload(ofChunk:)`.
  public func storedBytes(ofChunk index: Int) throws(QCodecError) -> [UInt8] {
    try unsafe withStored(ofChunk: index, checked: verifiesChecksums) { bytes in unsafe [UInt8](bytes) }
  }

  func tensorName(ofChunk index: Int) -> String {
    String(decoding: directory.name(Int(directory.chunk(index).tensor)), as: UTF8.self)
  }

  /// The scale vector of a tensor: empty for lossless tensors and under block scaling.
  ///
  /// Memory: 4 bytes a scale. Throws `io` where there is none for them, and as `payload(ofChunk:)`.
  public func scales(of tensor: Int) throws(QCodecError) -> [Float] {
    guard let layout = try layout(of: tensor), layout.scaleCount > 0 else { return [] }
    let places = directory.places(tensor)
    try requireMemory(layout.scaleCount * 4)
    var scales: [Float] = []
    scales.reserveCapacity(layout.scaleCount)
    for chunk in 0..<places.scaleCount {
      try Cancellation.check()
      try unsafe withPayload(ofChunk: places[chunk]) { buffer in
        for offset in stride(from: 0, to: buffer.count, by: 4) {
          scales.append(Float(bitPattern: unsafe buffer.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
      }
    }
    return scales
  }

  /// Reads every byte of the file: chunks against their checksums, padding against zero, metadata.
  ///
  /// Throws the error of the first defect in file order. Memory: a few chunks.
  ///
  /// - Parameter progress: called with the bytes checked since the last call, `fileBytes` in all, from any thread.
  public func checkAllBytes(
    threads: Int = availableThreads(), progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(QCodecError) {
    let ordinals = tensorOrdinals()
    try parallelFor(count: chunkCount, threads: threads) { index throws(QCodecError) in
      try self.checkStored(ofChunk: index)
      try self.checkLead(ofChunk: index, ordinals: ordinals)
      progress(UInt64(self.directory.chunk(index).storedLength))
    }
    if chunkCount > 0 {
      let last = directory.chunk(chunkCount - 1)
      try checkPadding(from: last.offset + UInt64(last.storedLength))
    }
    _ = try metadata()
    try checkPadding(from: trailer.metadataOffset + trailer.metadataLength)
    try checkPadding(from: trailer.directoryOffset + trailer.directoryLength)
    // Chunks lie within the file and do not overlap: opening it saw to that.
    progress((0..<chunkCount).reduce(fileBytes) { $0 - UInt64(directory.chunk($1).storedLength) })
  }

  /// The number of each tensor in the order of first chunks, by which frames know it.
  func tensorOrdinals() -> [UInt32] {
    var ordinals = [UInt32](repeating: 0, count: tensorCount)
    var next: UInt32 = 0
    for index in 0..<chunkCount {
      let tensor = Int(directory.chunk(index).tensor)
      guard directory.tensor(tensor).firstChunk == UInt64(index) else { continue }
      ordinals[tensor] = next
      next += 1
    }
    return ordinals
  }

  /// The bytes between a chunk and what comes before it are those that the directory implies.
  func checkLead(ofChunk index: Int, ordinals: [UInt32]) throws(QCodecError) {
    let chunk = directory.chunk(index)
    let tensor = Int(chunk.tensor)
    let record = directory.record(tensor)
    let start =
      index == 0
      ? UInt64(Format.headerSize)
      : directory.chunk(index - 1).offset + UInt64(directory.chunk(index - 1).storedLength)
    let place = UInt32(
      numberInTensor(ofChunk: index, places: directory.places(tensor), stride: Int(record.stride)))
    let preamble = Preamble(
      name: Array(directory.name(tensor)), dtype: record.dtype, shape: directory.shape(tensor), scheme: record.scheme,
      reference: record.reference.map { ordinals[$0] })
    let frame = ChunkFrame(
      storedLength: chunk.storedLength, compression: chunk.compression, kind: chunk.kind, tensor: ordinals[tensor],
      index: place, hash: chunk.hash)
    let expected = Lead.bytes(after: start, preamble: place == 0 ? preamble : nil, frame: frame)
    let found = try source.bytes(at: start, count: expected.count)
    guard let wrong = found.indices.first(where: { found[$0] != expected[$0] }) else { return }
    throw QCodecError(
      .leadCorrupt, "what stands before chunk \(place) is not what the directory says", offset: start + UInt64(wrong),
      tensor: tensorName(ofChunk: index))
  }

  /// The bytes from an end to the next multiple of 64 are zero.
  func checkPadding(from end: UInt64) throws(QCodecError) {
    let rest = Int((Format.alignment - end % Format.alignment) % Format.alignment)
    let bytes = try source.bytes(at: end, count: rest)
    if let index = bytes.firstIndex(where: { $0 != 0 }) {
      throw QCodecError(.paddingNotZero, "a byte between two parts is not zero", offset: end + UInt64(index))
    }
  }
}
