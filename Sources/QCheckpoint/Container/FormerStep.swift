import QCodec

/// A tensor of the `linear` map that may have been encoded before, with a step: what it decoded to.
struct FormerStep {
  let source: any TensorSource
  let layout: TensorLayout
  let name: String
  let look: Look
  /// In the update domain what the elements of a chunk are divided by.
  var divisors: @Sendable (Int) throws(QCodecError) -> [Float] = { (_) throws(QCodecError) in [] }

  /// The first of some steps under which the tensor decodes to what it is, bit for bit; nil if none is.
  ///
  /// Saving what was loaded changes nothing so. Few steps are tried for more than a chunk.
  ///
  /// - Parameters:
  ///   - steps: in units of what is coded.
  ///   - scales: the scale vector that a step makes.
  func first(
    of steps: [Double], scales: (EncodingStep) -> [Float]
  ) throws(QCodecError) -> EncodingStep? {
    // An escaped element would be what it is under any step.
    guard !layout.scheme.hasEscapes else { return nil }
    for step in steps {
      let own = EncodingStep(linear: step, scheme: layout.scheme, dtype: layout.dtype)
      if try isOne(own, scales: scales(own)) { return own }
    }
    return nil
  }

  private func isOne(_ step: EncodingStep, scales: [Float]) throws(QCodecError) -> Bool {
    guard scales.allSatisfy(\.isFinite) else { return false }
    let encoder = try ChunkEncoder(layout: layout, name: name, scales: scales, step: step)
    let decoder = try ChunkDecoder(layout: layout, scales: scales)
    guard try keeps(chunk: 0, encoder, decoder) else { return false }
    return try look.inParts(of: layout.codeChunkCount) { chunks throws(QCodecError) in
      for chunk in chunks where try !keeps(chunk: chunk, encoder, decoder) { return false }
      return true
    }.allSatisfy(\.self)
  }

  private func keeps(
    chunk index: Int, _ encoder: ChunkEncoder, _ decoder: ChunkDecoder
  ) throws(QCodecError) -> Bool {
    try Cancellation.check()
    let divisors = try divisors(index)
    let payload = look.pool.buffer(layout.payloadByteCount(ofChunk: index))
    return try unsafe source.withChunk(index, of: layout, pool: look.pool) { bytes throws(QCodecError) in
      let decoded = look.pool.buffer(bytes.count)
      do throws(QCodecError) {
        _ = try unsafe encoder.encode(
          chunk: index, source: bytes, divisors: divisors, into: payload.bytes, measures: false)
      } catch {
        // What overflows under a step was not decoded from it.
        guard error.code == .updateNotFinite else { throw error }
        return false
      }
      try unsafe decoder.decode(chunk: index, payload: payload.contents, divisors: divisors, into: decoded.bytes)
      return unsafe bytes.isEqual(to: decoded.contents)
    }
  }
}
