import QCodec

/// A pair to be written: what its values make of the schemes that were asked for.
struct PairWork: Sendable {
  let first: TensorDescription
  let second: TensorDescription
  let sources: (first: any TensorSource, second: any TensorSource)
  let nonFinite: NonFinitePolicy
  let look: Look
  private(set) var firstLayout: TensorLayout?
  private(set) var secondLayout: TensorLayout?
  private(set) var firstReason = FallbackReason.none
  private(set) var secondReason = FallbackReason.none
  private(set) var firstScales: [Float] = []
  private(set) var secondScales: [Float] = []
  private(set) var firstStep = EncodingStep.none
  private(set) var secondStep = EncodingStep.none
  private var secondScan = ValueScan()
  /// Of the update of every element.
  private var bound: UpdateBound?
  private var firstScale: Float?

  init(
    first: TensorDescription, second: TensorDescription,
    sources: (first: any TensorSource, second: any TensorSource), nonFinite: NonFinitePolicy, look: Look
  ) {
    self.first = first
    self.second = second
    self.sources = sources
    self.nonFinite = nonFinite
    self.look = look
  }

  /// Looks both tensors over and takes every decision that depends on their values.
  mutating func settle(
    _ first: NewTensor, _ second: NewTensor, layouts: (first: TensorLayout?, second: TensorLayout?),
    fallback: TensorLayout?
  ) throws(QCodecError) {
    (firstReason, secondReason) = (first.encoding.reason, second.encoding.reason)
    firstScale = first.scale
    if case .update(let update)? = first.bound { bound = update }
    secondLayout = layouts.second
    if let layout = layouts.second {
      let choice = FallbackChoice(name: second.name, nonFinite: nonFinite, negativeFallsBack: second.negativeFallsBack)
      let pass = try FirstPass.run(
        sources.second, layout: layout, step: second.step, choice: choice, isWhole: true, by: look)
      if let scales = pass.scales {
        secondScales = second.scales(scales)
      } else {
        (secondLayout, secondReason) = (nil, pass.reason)
      }
      (secondScan, secondStep) = (pass.scan, pass.step)
    }
    firstLayout = layouts.first
    if layouts.first?.scheme.domain == .update {
      if let reason = try refusal(of: layouts.first, step: first.step) {
        (firstLayout, firstReason, firstStep) = (fallback, reason, .none)
        // Only both moments as they are keep what is asked of their update.
        if bound != nil {
          (firstLayout, firstReason, secondLayout, secondScales) = (nil, .none, nil, [])
        }
      }
    }
    guard let layout = firstLayout, layout.scheme.domain == .value else { return }
    let choice = FallbackChoice(name: first.name, nonFinite: nonFinite, negativeFallsBack: first.negativeFallsBack)
    let step = layouts.first?.scheme == layout.scheme ? first.step : first.step?.ofFallback(layout.scheme)
    let pass = try FirstPass.run(sources.first, layout: layout, step: step, choice: choice, by: look)
    firstStep = pass.step
    if let scales = pass.scales { firstScales = scales } else { (firstLayout, firstReason) = (nil, pass.reason) }
  }

  /// Why the first moment cannot be in the update domain; nil if it can, its scales then found.
  private mutating func refusal(
    of layout: TensorLayout?, step: QuantizationStep?
  ) throws(QCodecError) -> FallbackReason? {
    guard let layout, let second = secondLayout, second.scheme.isReferable else { return .secondMomentNotUsable }
    let scan = try look.over(sources.first, layout: layout, takesScales: false).scan
    if let found = scan.firstNonFinite {
      // The value domain has what to do with it: an error, or the tensor lossless.
      if nonFinite == .raw { return .updateNotFinite }
      throw ValueScan.nonFinite(found, tensor: first.name)
    }
    let decoder = try ChunkDecoder(layout: second, scales: secondScales)
    let encoder = try ChunkEncoder(layout: second, name: self.second.name, scales: secondScales, step: secondStep)
    do throws(QCodecError) {
      try findStep(step, layout: layout, encoder: encoder, decoder: decoder)
      guard !isSafe(scan, layout: layout) else { return nil }
      if let bound {
        try encodeAll(layout, encoder: encoder, bound: bound)
      } else {
        try encodeAll(layout, encoder: encoder, decoder: decoder)
      }
    } catch {
      guard error.code == .updateNotFinite || error.code == .nonFiniteValue else { throw error }
      firstScales = []
      return .updateNotFinite
    }
    return nil
  }

  /// The divisors that a chunk of the second moment will decode to.
  private func divisors(
    ofChunk index: Int, encoder: ChunkEncoder, decoder: ChunkDecoder
  ) throws(QCodecError) -> [Float] {
    let layout = encoder.layout
    let payload = look.pool.buffer(layout.payloadByteCount(ofChunk: index))
    _ = try unsafe sources.second.withChunk(index, of: layout, pool: look.pool) { bytes throws(QCodecError) in
      try unsafe encoder.encode(chunk: index, source: bytes, into: payload.bytes)
    }
    return try unsafe decoder.divisors(chunk: index, payload: payload.contents)
  }

  /// What a step makes of the quotients' scales, and their scale vector where the scaling has one; throws
  /// `updateNotFinite` where a scale or the quotients' root mean square overflows.
  private mutating func findStep(
    _ step: QuantizationStep?, layout: TensorLayout, encoder: ChunkEncoder, decoder: ChunkDecoder
  ) throws(QCodecError) {
    let pair = self
    let divisors = { @Sendable (index: Int) throws(QCodecError) in
      try pair.divisors(ofChunk: index, encoder: encoder, decoder: decoder)
    }
    let given = layout.scaleCount == 1 ? firstScale.map { [$0] } : nil
    let pass =
      given == nil && ScalePass.isNeeded(for: layout)
      ? try look.over(sources.first, layout: layout, takesScales: true, divisors: divisors).pass : nil
    let scales = { (step: EncodingStep) in given ?? pass?.finish(step: step) ?? [] }
    var squares = SquareSum()
    if case .rms = step {
      squares = try look.squares(sources.first, layout: layout, over: (sources.second, encoder.layout))
      guard squares.sum.isFinite else { throw QCodecError(.updateNotFinite, "a quotient overflows") }
    }
    firstStep = try StepChoice(
      source: sources.first, layout: layout, name: first.name, look: look, divisors: divisors
    ).step(step, squares: squares, scales: scales)
    firstScales = scales(firstStep)
    guard firstScales.allSatisfy(\.isFinite) else { throw QCodecError(.updateNotFinite, "a scale overflows") }
  }

  /// Whether no quotient and no decoded value can overflow, by the extremes of both tensors alone.
  private func isSafe(_ scan: ValueScan, layout: TensorLayout) -> Bool {
    guard let secondLayout else { return false }
    return withCodecEnvironment {
      // No decoded second moment lies outside its extremes under `log`; other maps may decode to the least float.
      let least = secondLayout.scheme.map == .log ? Double(secondScan.leastNonzeroMagnitude) : 0x1p-149
      let quotient = Double(scan.greatestMagnitude) / min(1, least.squareRoot())
      // With steps v̂ may be four octaves above v, and what is above half a step come out as a whole one.
      let room = firstStep == .none && secondStep == .none ? 1.0 : 8
      let value = room * quotient * max(1, Double(secondScan.greatestMagnitude).squareRoot())
      return quotient < 0x1p120 && value < (layout.dtype == .f16 ? 0x1p14 : 0x1p120)
    }
  }

  /// Likewise with the escapes that a bound asks for.
  private func encodeAll(
    _ layout: TensorLayout, encoder: ChunkEncoder, bound: UpdateBound
  ) throws(QCodecError) {
    let first = try ChunkEncoder(layout: layout, name: first.name, scales: firstScales)
    let bounded = try BoundedPairEncoder(first: first, second: encoder, bound: bound)
    let (sources, pool) = (sources, look.pool)
    try parallelFor(count: layout.codeChunkCount, threads: look.threads) { index throws(QCodecError) in
      try unsafe sources.second.withChunk(index, of: encoder.layout, pool: pool) { v throws(QCodecError) in
        try unsafe sources.first.withChunk(index, of: layout, pool: pool) { m throws(QCodecError) in
          _ = try unsafe bounded.encode(chunk: index, first: m, second: v, epsilon: nil)
        }
      }
    }
  }

  /// Encodes every chunk to see whether anything overflows; throws `updateNotFinite` if so.
  private func encodeAll(
    _ layout: TensorLayout, encoder: ChunkEncoder, decoder: ChunkDecoder
  ) throws(QCodecError) {
    let first = try ChunkEncoder(layout: layout, name: first.name, scales: firstScales, step: firstStep)
    let pair = self
    try parallelFor(count: layout.codeChunkCount, threads: look.threads) { index throws(QCodecError) in
      let divisors = try pair.divisors(ofChunk: index, encoder: encoder, decoder: decoder)
      let payload = pair.look.pool.buffer(layout.payloadByteCount(ofChunk: index))
      _ = try unsafe pair.sources.first.withChunk(index, of: layout, pool: pair.look.pool) {
        bytes throws(QCodecError) in
        try unsafe first.encode(chunk: index, source: bytes, divisors: divisors, into: payload.bytes)
      }
    }
  }
}
