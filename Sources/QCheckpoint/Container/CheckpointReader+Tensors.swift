import QCodec

extension CheckpointReader {
  /// Reads a whole tensor into exactly its `sourceBytes` bytes.
  ///
  /// Throws `shapeMismatch` for a buffer of another size, and an error with byte offset and tensor for each defect of a
  /// chunk.
  public func read(
    tensor index: Int, into target: UnsafeMutableRawBufferPointer, threads: Int = availableThreads()
  ) throws(QCodecError) {
    let size = directory.sourceBytes(index)
    guard UInt64(target.count) == size else {
      throw QCodecError(.shapeMismatch, "room for \(target.count) bytes where the tensor has \(size)")
    }
    try unsafe readBytes(tensor: index, at: 0, into: target, threads: threads)
  }

  /// A whole tensor's bytes, in its dtype.
  public func bytes(ofTensor index: Int, threads: Int = availableThreads()) throws(QCodecError) -> [UInt8] {
    let record = directory.record(index)
    // The chunk table vouches for the size: its chunks were counted against the file.
    try requireMemory(Int(record.sourceBytes))
    var bytes = [UInt8](repeating: 0, count: Int(record.sourceBytes))
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in
      try unsafe read(tensor: index, into: buffer, threads: threads)
    }
    return bytes
  }

  /// Reads a range of indices of the first axis, from the chunks that hold it and no others.
  ///
  /// Throws `invalidArgument` for rows outside the shape, else as `read(tensor:into:threads:)`.
  public func readRows(
    tensor index: Int, rows: Range<UInt64>, into target: UnsafeMutableRawBufferPointer,
    threads: Int = availableThreads()
  ) throws(QCodecError) {
    let record = directory.record(index)
    let elements = try TensorLayout.elements(
      ofRows: rows, shape: directory.shape(index), elementCount: record.elementCount)
    let offset = try record.dtype.byteCount(elements: elements.lowerBound)
    let end = try record.dtype.byteCount(elements: elements.upperBound)
    guard UInt64(target.count) == end - offset else {
      throw QCodecError(.shapeMismatch, "room for \(target.count) bytes where the rows have \(end - offset)")
    }
    try unsafe readBytes(tensor: index, at: offset, into: target, threads: threads)
  }

  /// Reads bytes of the decoded tensor from `offset` on; both ends of a quantized tensor's range lie on elements.
  ///
  /// Throws `invalidArgument` for a range that the tensor does not have, else as `read(tensor:into:threads:)`. Reading
  /// one tensor in many pieces is better done through `contents(of:)`, which reads the scale vector once.
  public func readBytes(
    tensor index: Int, at offset: UInt64, into target: UnsafeMutableRawBufferPointer, threads: Int = 1
  ) throws(QCodecError) {
    try unsafe contents(of: index).read(at: offset, into: target, threads: threads)
  }

  /// The decoded bytes of a tensor, to be read in pieces; the scale vector is read now and kept.
  ///
  /// Throws as `scales(of:)`.
  public func contents(of index: Int) throws(QCodecError) -> TensorContents {
    let name = String(decoding: directory.name(index), as: UTF8.self)
    do throws(QCodecError) {
      let own = try part(of: index)
      let reference = directory.tensor(index).reference
      let second = try reference.map { second throws(QCodecError) in try part(of: second) }
      var pair: PairDecoder?
      if let reference, let one = own.decoder, let other = second?.decoder {
        let other = (decoder: other, name: String(decoding: directory.name(reference), as: UTF8.self))
        pair = try PairDecoder(first: one, second: other.decoder, names: (name, other.name))
      }
      return TensorContents(
        reader: self, name: name, byteCount: directory.sourceBytes(index), own: own, second: second,
        pair: pair)
    } catch {
      throw error.named(name)
    }
  }

  private func part(of index: Int) throws(QCodecError) -> TensorContents.Part {
    let decoder: ChunkDecoder? =
      if let layout = try layout(of: index) { try self.decoder(of: index, layout: layout) } else { nil }
    return TensorContents.Part(decoder: decoder, places: directory.places(index))
  }

  /// What decodes a quantized tensor's chunks; throws as `scales(of:)`, with the place of the chunk.
  func decoder(of index: Int, layout: TensorLayout) throws(QCodecError) -> ChunkDecoder {
    do throws(QCodecError) {
      return try ChunkDecoder(layout: layout, scales: try scales(of: index))
    } catch {
      guard error.code == .invalidScale else { throw error }
      // The place within the vector says less than the chunk that holds it.
      let scale = Int((error.offset ?? 0) / 4)
      let chunk = directory.places(index)[scale / TensorLayout.chunkScales]
      throw QCodecError(error.code, error.message, offset: directory.chunk(chunk).offset)
    }
  }
}
