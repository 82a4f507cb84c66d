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
  ///   - scales: float32, one for each block in C order (under `log` its two ends), or the scale vector.
  ///   - codes: one byte a code, or two codes a byte, the earlier in the upper four bits.
  ///
  /// Throws `invalidArgument` for a lossless tensor, `shapeMismatch` for buffers of other sizes than `codeByteCounts`,
  /// `invalidScale` and `invalidCode` for what no encoder writes, and as `payload(ofChunk:)`.
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
    let vector = try self.scales(of: index)
    let decoder = try ChunkDecoder(layout: layout, scales: vector)
    unsafe vector.withUnsafeBytes { unsafe scales.copyMemory(from: $0) }
    let places = directory.places(index)
    // Safe: every chunk writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let targets = unsafe (scales: scales, codes: codes)
    try parallelFor(count: layout.codeChunkCount, threads: threads) { chunk throws(QCodecError) in
      let part = layout.importPart(ofChunk: chunk)
      let payload = self.pool.buffer(part.scaleBytes + part.codeBytes)
      try unsafe self.readPayload(ofChunk: places.data(chunk), into: payload.bytes)
      try unsafe decoder.check(chunk: chunk, payload: payload.contents)
      let (start, middle) = (Int(part.scales), part.scaleBytes)
      unsafe UnsafeMutableRawBufferPointer(rebasing: targets.scales[start..<start + middle])
        .copyMemory(from: .init(rebasing: payload.contents[..<middle]))
      unsafe UnsafeMutableRawBufferPointer(rebasing: targets.codes[Int(part.codes)..<Int(part.codes) + part.codeBytes])
        .copyMemory(from: .init(rebasing: payload.contents[middle...]))
    }
  }
}
