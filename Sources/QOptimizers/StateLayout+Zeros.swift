import QCodec

extension StateLayout {
  /// The moments of a tensor that has taken no step: zeros, encoded.
  public func zeros() throws(QCodecError) -> [[UInt8]] {
    var result: [[UInt8]] = byteCounts.map { [UInt8](repeating: 0, count: $0) }
    for moment in result.indices {
      try unsafe result[moment].withMutableBytes { bytes throws(QCodecError) in
        try unsafe clear(moment, bytes)
      }
    }
    return result
  }

  /// Puts the moments of a tensor that has taken no step into buffers of `byteCounts`.
  ///
  /// Throws `shapeMismatch` for buffers of other sizes.
  @unsafe public func clear(_ moments: [UnsafeMutableRawBufferPointer]) throws(QCodecError) {
    let sizes = unsafe moments.map(\.count)
    guard sizes == byteCounts else {
      throw QCodecError(.shapeMismatch, "moments of \(sizes) bytes, not \(byteCounts)")
    }
    for moment in sizes.indices { try unsafe clear(moment, moments[moment]) }
  }

  private func clear(_ moment: Int, _ bytes: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    guard let layout = storages[moment].layout else {
      unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
      return
    }
    unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<(layout.scaleCount * 4)])
      .initializeMemory(as: UInt8.self, repeating: 0)
    let encoder = try ChunkEncoder(
      layout: layout, name: "", scales: [Float](repeating: 0, count: layout.scaleCount))
    for chunk in 0..<layout.codeChunkCount {
      let start = layout.streamOffset(ofChunk: chunk)
      let target = unsafe UnsafeMutableRawBufferPointer(
        rebasing: bytes[start..<start + layout.payloadByteCount(ofChunk: chunk)])
      if chunk > 0, target.count == layout.payloadByteCount(ofChunk: 0) {
        // Zeros look alike in every chunk.
        let first = layout.streamOffset(ofChunk: 0)
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[first..<first + layout.payloadByteCount(ofChunk: 0)]))
        continue
      }
      let source = [UInt8](repeating: 0, count: layout.sourceByteCount(ofChunk: chunk))
      let divisors = [Float](repeating: 1, count: layout.scheme.domain == .update ? source.count / 4 : 0)
      try unsafe source.withBytes { source throws(QCodecError) in
        _ = try unsafe encoder.encode(chunk: chunk, source: source, divisors: divisors, into: target, measures: false)
      }
    }
  }
}
