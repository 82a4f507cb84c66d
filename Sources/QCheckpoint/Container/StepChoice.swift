import QCodec

/// What a step makes of the scales of a tensor of which the squares were summed: the step that the tensor has already by an
/// earlier encoding, if it has one, so that saving what was loaded changes nothing; else the one that is asked for.
struct StepChoice {
  let source: any TensorSource
  let layout: TensorLayout
  let name: String
  let look: Look
  /// In the update domain what the elements of a chunk are divided by.
  var divisors: @Sendable (Int) throws(QCodecError) -> [Float] = { (_) throws(QCodecError) in [] }

  /// The choice for a step that was asked for.
  ///
  /// - Parameters:
  ///   - asked: what was asked for.
  ///   - squares, least: as `EncodingStep` takes them.
  ///   - scales: the scale vector that a step makes.
  func step(
    _ asked: QuantizationStep?, squares: SquareSum, least: Float = .infinity, scales: (EncodingStep) -> [Float]
  ) throws(QCodecError) -> EncodingStep {
    // An escaped element would be what it is under any step.
    if case .rms(let factor) = asked, !layout.scheme.hasEscapes {
      for step in squares.formerSteps(factor, of: layout.elementCount, scheme: layout.scheme) {
        let own = EncodingStep(linear: step, scheme: layout.scheme, dtype: layout.dtype)
        if try keeps(own, scales: scales(own)) { return own }
      }
    }
    return EncodingStep(asked, scheme: layout.scheme, dtype: layout.dtype, squares: squares, least: least)
  }

  /// Whether the tensor decodes to what it is, bit for bit. The first chunk says no to most steps.
  private func keeps(_ step: EncodingStep, scales: [Float]) throws(QCodecError) -> Bool {
    guard scales.allSatisfy(\.isFinite) else { return false }
    let encoder = try ChunkEncoder(layout: layout, name: name, scales: scales, step: step)
    let decoder = try ChunkDecoder(layout: layout, scales: scales)
    guard try keeps(chunk: 0, encoder, decoder) else { return false }
    return try look.inParts(of: layout.codeChunkCount - 1) { others throws(QCodecError) in
      for other in others where try !keeps(chunk: other + 1, encoder, decoder) { return false }
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
