import QCodec

/// One scheme over the whole of the moments, chunk by chunk, into memory that was there before.
///
/// Safe: chunks read and write ranges of their own, whose sizes the layouts state.
struct BenchCodec: @unchecked Sendable {
  let scheme: BenchScheme
  let level: KernelLevel
  let threads: Int
  private let moments: BenchMoments
  /// The tensor, or the first moment; and the second moment of a pair.
  private let layouts: [TensorLayout]
  private let payloads: [BenchMemory]
  private let targets: [BenchMemory]

  /// Prepares the memory, every page of it touched.
  init(_ scheme: BenchScheme, moments: BenchMoments, targets: [BenchMemory], level: KernelLevel, threads: Int) throws {
    (self.scheme, self.moments, self.level, self.threads) = (scheme, moments, level, threads)
    let shape = [UInt64(moments.elements / BenchMoments.columns), UInt64(BenchMoments.columns)]
    let schemes: [Scheme] =
      if case .pair(let first, let second) = scheme.work { [first, second] } else { [scheme.scheme] }
    layouts = try schemes.map { try TensorLayout(dtype: .f32, shape: shape, scheme: $0) }
    payloads = try layouts.map { try BenchMemory(byteCount: $0.streamByteCount - 4 * $0.scaleCount, hugePages: true) }
    self.targets = targets
    for payload in payloads { payload.touch() }
  }

  /// Encodes all; returns the scale vector, which is none under block scaling.
  @discardableResult func encode(measures: Bool) throws(QCodecError) -> [Float] {
    if case .pair = scheme.work {
      let encoder = try PairEncoder(
        first: ChunkEncoder(layout: layouts[0], name: "m", scales: [], kernels: level),
        second: ChunkEncoder(layout: layouts[1], name: "v", scales: [], kernels: level))
      try forEachChunk { chunk throws(QCodecError) in
        _ = try unsafe encoder.encode(
          chunk: chunk, first: moments.first[source(chunk)], second: moments.second[source(chunk)],
          into: payloads[0].room(payload(0, chunk)), payloads[1].room(payload(1, chunk)), measures: measures)
      }
      return []
    }
    let scales = ScalePass.isNeeded(for: layouts[0]) ? try scalePass() : []
    let encoder = try ChunkEncoder(layout: layouts[0], name: "x", scales: scales, kernels: level)
    try forEachChunk { chunk throws(QCodecError) in
      _ = try unsafe encoder.encode(
        chunk: chunk, source: moment[source(chunk)], into: payloads[0].room(payload(0, chunk)), measures: measures)
    }
    return scales
  }

  /// Decodes what was encoded with these scales.
  func decode(scales: [Float]) throws(QCodecError) {
    if case .pair = scheme.work {
      let decoder = try PairDecoder(
        first: ChunkDecoder(layout: layouts[0], scales: [], kernels: level),
        second: ChunkDecoder(layout: layouts[1], scales: [], kernels: level))
      return try forEachChunk { chunk throws(QCodecError) in
        try unsafe decoder.decode(
          chunk: chunk, first: payloads[0][payload(0, chunk)], second: payloads[1][payload(1, chunk)],
          into: targets[0].room(source(chunk)), targets[1].room(source(chunk)))
      }
    }
    let decoder = try ChunkDecoder(layout: layouts[0], scales: scales, kernels: level)
    try forEachChunk { chunk throws(QCodecError) in
      try unsafe decoder.decode(
        chunk: chunk, payload: payloads[0][payload(0, chunk)], into: targets[0].room(source(chunk)))
    }
  }

  private var moment: BenchMemory { if case .second = scheme.work { moments.second } else { moments.first } }

  /// The first pass: each thread takes chunks that follow one another.
  private func scalePass() throws(QCodecError) -> [Float] {
    let layout = layouts[0]
    let parts = max(1, min(threads, layout.codeChunkCount))
    let passes = (0..<parts).map { _ in ScalePass(layout: layout) }
    try parallelFor(count: parts, threads: threads) { part throws(QCodecError) in
      let chunks = layout.codeChunkCount * part / parts..<layout.codeChunkCount * (part + 1) / parts
      for chunk in chunks { try unsafe passes[part].accumulate(chunk: chunk, source: moment[source(chunk)]) }
    }
    for later in passes.dropFirst() { passes[0].merge(later) }
    return passes[0].finish()
  }

  private func forEachChunk(_ body: @escaping @Sendable (Int) throws(QCodecError) -> Void) throws(QCodecError) {
    try parallelFor(count: layouts[0].codeChunkCount, threads: threads, body)
  }

  /// The bytes of a chunk's elements.
  private func source(_ chunk: Int) -> Range<Int> {
    let elements = layouts[0].elements(ofChunk: chunk)
    return 4 * Int(elements.lowerBound)..<4 * Int(elements.upperBound)
  }

  /// The bytes of a chunk's payload; all chunks but the last have equally many.
  private func payload(_ tensor: Int, _ chunk: Int) -> Range<Int> {
    let start = chunk * layouts[tensor].payloadByteCount(ofChunk: 0)
    return start..<start + layouts[tensor].payloadByteCount(ofChunk: chunk)
  }
}
