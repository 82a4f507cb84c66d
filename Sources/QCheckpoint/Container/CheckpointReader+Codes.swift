import QCodec

extension CheckpointReader {
  /// Bytes of a quantized tensor's scales and of its codes; nil for a lossless tensor.
  public func codeByteCounts(of index: Int) throws(QCodecError) -> (scales: Int, codes: Int)? {
    guard let layout = try layout(of: index) else { return nil }
    return (layout.streamByteCount - layout.codeByteCount, layout.codeByteCount)
  }

  /// Reads a quantized tensor's scales and codes as they are stored, for systems that compute with them.
  ///
  /// - Parameters:
  ///   - index: the tensor's place among the tensors.
  ///   - scales: float32, one for each block in C order (under `log` its two ends), or the scale vector.
  ///   - codes: a string of bits, the first code first and the most significant bit of each first; zeros behind the last.
  ///   - threads: threads to use; they do not change the result.
  ///
  /// Throws `invalidArgument` for a lossless tensor, `unsupportedScheme` for one with escapes, `shapeMismatch` for buffers
  /// of other sizes than `codeByteCounts`, `invalidScale` and `invalidCode` for what no encoder writes, with tensor and byte offset, and as
  /// `payload(ofChunk:)`.
  public func readCodes(
    tensor index: Int, scales: UnsafeMutableRawBufferPointer, codes: UnsafeMutableRawBufferPointer,
    threads: Int = availableThreads()
  ) throws(QCodecError) {
    guard let layout = try layout(of: index), let sizes = try codeByteCounts(of: index) else {
      throw QCodecError(.invalidArgument, "a lossless tensor has no codes", tensor: tensor(index).name)
    }
    guard scales.count == sizes.scales, codes.count == sizes.codes else {
      throw QCodecError(
        .shapeMismatch, "room for \(scales.count) bytes of scales and \(codes.count) of codes, not \(sizes)",
        tensor: tensor(index).name)
    }
    do throws(QCodecError) {
      try Self.refuseEscapes(layout)
      let decoder = try decoder(of: index, layout: layout)
      unsafe decoder.scales.withUnsafeBytes { unsafe scales.copyMemory(from: $0) }
      try unsafe readCodes(tensor: index, by: decoder, scales: scales, codes: codes, threads: threads)
    } catch {
      throw error.named(tensor(index).name)
    }
  }

  private func readCodes(
    tensor index: Int, by decoder: ChunkDecoder, scales: UnsafeMutableRawBufferPointer,
    codes: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) {
    let layout = decoder.layout
    let places = directory.places(index)
    // Safe: every chunk writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let targets = unsafe (scales: scales, codes: codes)
    try parallelFor(count: layout.codeChunkCount, threads: threads) { chunk throws(QCodecError) in
      let part = layout.importPart(ofChunk: chunk)
      let payload = self.pool.buffer(part.scaleBytes + part.codeBytes)
      let place = places.data(chunk)
      try unsafe self.readPayload(ofChunk: place, into: payload.bytes)
      do throws(QCodecError) { try unsafe decoder.check(chunk: chunk, payload: payload.contents) } catch {
        var located = error
        located.offset = self.chunk(place).offset
        throw located
      }
      let (start, middle) = (Int(part.scales), part.scaleBytes)
      unsafe UnsafeMutableRawBufferPointer(rebasing: targets.scales[start..<start + middle])
        .copyMemory(from: .init(rebasing: payload.contents[..<middle]))
      unsafe UnsafeMutableRawBufferPointer(rebasing: targets.codes[Int(part.codes)..<Int(part.codes) + part.codeBytes])
        .copyMemory(from: .init(rebasing: payload.contents[middle...]))
    }
  }
}
