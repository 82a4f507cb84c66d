import QCodec

extension CheckpointReader {
  /// Codes alone are not the tensor where elements have values beside them.
  static func refuseEscapes(_ layout: TensorLayout) throws(QCodecError) {
    guard !layout.scheme.hasEscapes else {
      throw QCodecError(.unsupportedScheme, "a tensor with escapes is more than its scales and codes; read its values")
    }
  }

  /// Bytes of a quantized tensor's stream without its escapes; nil for a lossless tensor.
  public func streamByteCount(of index: Int) throws(QCodecError) -> Int? { try layout(of: index)?.streamByteCount }

  /// Reads a quantized tensor as its stream, without decoding it: what `TensorCodec` and optimizers keep in memory.
  ///
  /// Throws `invalidArgument` for a lossless tensor, `unsupportedScheme` for one with escapes, which streams do not have,
  /// `shapeMismatch` for a buffer of another size than `streamByteCount`, `invalidScale` and `invalidCode` for what no encoder writes, and as `payload(ofChunk:)`.
  public func readStream(
    tensor index: Int, into target: UnsafeMutableRawBufferPointer, threads: Int = availableThreads()
  ) throws(QCodecError) {
    let name = tensor(index).name
    guard let layout = try layout(of: index) else {
      throw QCodecError(.invalidArgument, "a lossless tensor has no stream", tensor: name)
    }
    guard target.count == layout.streamByteCount else {
      throw QCodecError(
        .shapeMismatch, "room for \(target.count) bytes of a stream of \(layout.streamByteCount)", tensor: name)
    }
    do throws(QCodecError) {
      try Self.refuseEscapes(layout)
      let decoder = try decoder(of: index, layout: layout)
      unsafe decoder.scales.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
      let places = directory.places(index)
      // Safe: every chunk writes bytes of its own, and the buffer outlives the call.
      nonisolated(unsafe) let target = unsafe target
      try parallelFor(count: layout.codeChunkCount, threads: threads) { chunk throws(QCodecError) in
        let start = layout.streamOffset(ofChunk: chunk)
        let payload = unsafe UnsafeMutableRawBufferPointer(
          rebasing: target[start..<start + layout.payloadByteCount(ofChunk: chunk)])
        let place = places.data(chunk)
        try unsafe self.readPayload(ofChunk: place, into: payload)
        do throws(QCodecError) {
          try unsafe decoder.check(chunk: chunk, payload: UnsafeRawBufferPointer(payload))
        } catch {
          var located = error
          located.offset = self.chunk(place).offset
          throw located
        }
      }
    } catch {
      throw error.named(name)
    }
  }
}
