import QCodec

extension CheckpointReader {
  /// The stored bytes of a chunk, checked against their checksum unless that is switched off.
  ///
  /// Throws `chunkCorrupt` with the chunk's place and tensor.
  func storedBytes(ofChunk index: Int, checked: Bool) throws(QCodecError) -> [UInt8] {
    let record = directory.chunks[index]
    let bytes = try source.bytes(at: record.offset, count: Int(record.storedLength))
    guard !checked || xxh3(bytes) == record.hash else {
      throw QCodecError(
        .chunkCorrupt, "a chunk's checksum is wrong", offset: record.offset, tensor: tensorName(ofChunk: index))
    }
    return bytes
  }

  /// The payload of a chunk before the lossless stage: scales, codes, or source bytes.
  ///
  /// Throws `chunkCorrupt` and `decompressionFailed` with the chunk's place and tensor, and `io`.
  public func payload(ofChunk index: Int) throws(QCodecError) -> [UInt8] {
    let record = directory.chunks[index]
    let stored = try storedBytes(ofChunk: index, checked: verifiesChecksums)
    if record.compression == .none { return stored }
    var raw = [UInt8](repeating: 0, count: Int(record.rawLength))
    do throws(QCodecError) {
      try unsafe raw.withMutableBytes { target throws(QCodecError) in
        try unsafe record.compression.decompress(stored, into: target)
      }
    } catch {
      throw QCodecError(error.code, error.message, offset: record.offset, tensor: tensorName(ofChunk: index))
    }
    let planes = directory.records[Int(record.tensor)].dtype.planeCount
    guard record.kind == .lossless, planes > 1 else { return raw }
    var joined = [UInt8](repeating: 0, count: raw.count)
    unsafe raw.withUnsafeBytes { raw in
      unsafe joined.withUnsafeMutableBytes { unsafe BytePlanes.join(raw, planes: planes, into: $0) }
    }
    return joined
  }

  func tensorName(ofChunk index: Int) -> String {
    String(decoding: directory.name(Int(directory.chunks[index].tensor)), as: UTF8.self)
  }

  /// The scale vector of a tensor: empty for lossless tensors and under block scaling.
  ///
  /// Memory: 4 bytes a scale. Throws `invalidScale` where a scale cannot be, and as `payload(ofChunk:)`.
  public func scales(of tensor: Int) throws(QCodecError) -> [Float] {
    guard let layout = try layout(of: tensor), layout.scaleCount > 0 else { return [] }
    let places = directory.places(tensor)
    var scales: [Float] = []
    scales.reserveCapacity(layout.scaleCount)
    for chunk in 0..<places.scaleCount {
      let bytes = try payload(ofChunk: places[chunk])
      unsafe bytes.withUnsafeBytes { buffer in
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
  public func checkAllBytes(threads: Int = availableThreads()) throws(QCodecError) {
    let ordinals = tensorOrdinals()
    try parallelFor(count: chunkCount, threads: threads) { index throws(QCodecError) in
      _ = try self.storedBytes(ofChunk: index, checked: true)
      try self.checkLead(ofChunk: index, ordinals: ordinals)
    }
    if let last = directory.chunks.last { try checkPadding(from: last.offset + UInt64(last.storedLength)) }
    _ = try metadata()
    try checkPadding(from: trailer.metadataOffset + trailer.metadataLength)
    try checkPadding(from: trailer.directoryOffset + trailer.directoryLength)
  }

  /// The number of each tensor in the order of first chunks, by which frames know it.
  private func tensorOrdinals() -> [UInt32] {
    var ordinals = [UInt32](repeating: 0, count: tensorCount)
    var next: UInt32 = 0
    for (index, chunk) in directory.chunks.enumerated() where directory.places(Int(chunk.tensor))[0] == index {
      ordinals[Int(chunk.tensor)] = next
      next += 1
    }
    return ordinals
  }

  /// The bytes between a chunk and what comes before it are those that the directory implies.
  private func checkLead(ofChunk index: Int, ordinals: [UInt32]) throws(QCodecError) {
    let chunk = directory.chunks[index]
    let tensor = Int(chunk.tensor)
    let record = directory.records[tensor]
    let start =
      index == 0
      ? UInt64(Format.headerSize)
      : directory.chunks[index - 1].offset + UInt64(directory.chunks[index - 1].storedLength)
    // Places ascend with the number of the chunk.
    let places = directory.places(tensor)
    let place = UInt32(
      index < places.data(0) ? index - places[0] : places.scaleCount + (index - places.data(0)) / Int(record.stride))
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
      .leadCorrupt, "what stands before a chunk is not what the directory says", offset: start + UInt64(wrong),
      tensor: tensorName(ofChunk: index))
  }

  /// The bytes from an end to the next multiple of 64 are zero.
  private func checkPadding(from end: UInt64) throws(QCodecError) {
    let rest = Int((Format.alignment - end % Format.alignment) % Format.alignment)
    let bytes = try source.bytes(at: end, count: rest)
    if let index = bytes.firstIndex(where: { $0 != 0 }) {
      throw QCodecError(.paddingNotZero, "a byte between two parts is not zero", offset: end + UInt64(index))
    }
  }
}
