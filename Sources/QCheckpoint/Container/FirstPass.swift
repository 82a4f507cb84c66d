import QCodec

/// What a tensor's values may turn its scheme into.
struct FallbackChoice {
  let name: String
  let nonFinite: NonFinitePolicy
  let negativeFallsBack: Bool
}

/// The look at a whole tensor before its first byte is written: its scale vector, or why it is to be lossless.
struct FirstPass {
  /// nil where the tensor is to be lossless.
  let scales: [Float]?
  let reason: FallbackReason
  /// What was seen of the values; nothing where no decision depended on them.
  let scan: ValueScan
  /// What the step that was asked for makes of the scheme's scales or ends.
  var step = EncodingStep.none

  /// Looks over a tensor that is to be quantized in the value domain.
  ///
  /// - Parameter isWhole: to look at every value even if nothing here depends on it.
  ///
  /// Throws `nonFiniteValue` and `negativeValue` with the element; non-finite values count before negative ones.
  static func run(
    _ source: any TensorSource, layout: TensorLayout, step: QuantizationStep? = nil, choice: FallbackChoice,
    isWhole: Bool = false, by look: Look
  ) throws(QCodecError) -> FirstPass {
    let needsScales = ScalePass.isNeeded(for: layout)
    let scansNegative = !layout.scheme.signed && choice.negativeFallsBack
    // Otherwise the encoder meets every value that decides anything, and then the whole file is given up.
    guard needsScales || scansNegative || isWhole || choice.nonFinite == .raw || step?.dependsOnValues == true else {
      let own = EncodingStep(
        step, scheme: layout.scheme, dtype: layout.dtype, squares: SquareSum(), least: .infinity)
      return FirstPass(scales: [], reason: .none, scan: ValueScan(), step: own)
    }
    let seen = try look.over(source, layout: layout, takesScales: needsScales)
    let scan = seen.scan
    if let found = scan.firstNonFinite {
      guard choice.nonFinite == .raw else { throw ValueScan.nonFinite(found, tensor: choice.name) }
      return FirstPass(scales: nil, reason: .nonFinite, scan: scan)
    }
    if let found = scan.firstNegative, !layout.scheme.signed {
      guard choice.negativeFallsBack else { throw ValueScan.negative(found, tensor: choice.name) }
      return FirstPass(scales: nil, reason: .negative, scan: scan)
    }
    let scales = { (step: EncodingStep) in seen.pass?.finish(step: step) ?? [] }
    let squares = if case .rms = step { try look.squares(source, layout: layout) } else { SquareSum() }
    let own = try StepChoice(source: source, layout: layout, name: choice.name, look: look)
      .step(step, squares: squares, least: scan.leastNonzeroMagnitude, scales: scales)
    return FirstPass(scales: scales(own), reason: .none, scan: scan, step: own)
  }
}

/// How a tensor is looked over: by how many threads, and in what memory.
struct Look {
  let threads: Int
  let pool: BufferPool

  /// What the values of a tensor are like, and the pass over its scale vector where it has one and it is asked for; the
  /// pass counts for nothing where a value is not finite.
  ///
  /// - Parameter divisors: in the update domain what the elements of a chunk are divided by.
  func over(
    _ source: any TensorSource, layout: TensorLayout, takesScales: Bool,
    divisors: @escaping @Sendable (Int) throws(QCodecError) -> [Float] = { (_) throws(QCodecError) in [] }
  ) throws(QCodecError) -> (scan: ValueScan, pass: ScalePass?) {
    let parts = try inParts(of: layout.codeChunkCount) { chunks throws(QCodecError) in
      var scan = ValueScan()
      let pass = takesScales ? ScalePass(layout: layout) : nil
      for index in chunks where scan.firstNonFinite == nil {
        try Cancellation.check()
        let first = layout.elements(ofChunk: index).lowerBound
        let divisors = takesScales ? try divisors(index) : []
        try unsafe source.withChunk(index, of: layout, pool: pool) { bytes throws(QCodecError) in
          unsafe scan.scan(source: bytes, dtype: layout.dtype, startingAt: first)
          // A poisoned scale would reach every element.
          guard scan.firstNonFinite == nil else { return }
          try unsafe pass?.accumulate(chunk: index, source: bytes, divisors: divisors)
        }
      }
      return (scan: scan, pass: pass)
    }
    let pass = takesScales ? ScalePass(layout: layout) : nil
    var scan = ValueScan()
    for part in parts {
      scan.append(part.scan)
      if let later = part.pass { pass?.merge(later) }
    }
    return (scan, pass)
  }

  /// The sum of squares of a tensor, or of its quotients with a second moment.
  func squares(
    _ source: any TensorSource, layout: TensorLayout,
    over second: (source: any TensorSource, layout: TensorLayout)? = nil
  ) throws(QCodecError) -> SquareSum {
    let pool = pool
    let parts = try inParts(of: layout.codeChunkCount) { chunks throws(QCodecError) in
      var sums: [SquareSum] = []
      for index in chunks {
        try Cancellation.check()
        sums.append(
          try unsafe source.withChunk(index, of: layout, pool: pool) { bytes throws(QCodecError) in
            guard let second else { return unsafe SquareSum(of: bytes, layout.dtype) }
            return try unsafe second.source.withChunk(index, of: second.layout, pool: pool) { other in
              unsafe SquareSum(of: bytes, layout.dtype, over: other, second.layout.dtype)
            }
          })
      }
      return sums
    }
    return withCodecEnvironment { parts.joined().reduce(into: SquareSum()) { $0.append($1) } }
  }

  /// Results of parts of `count` chunks, in order.
  func inParts<Result: Sendable>(
    of count: Int, _ body: @escaping @Sendable (Range<Int>) throws(QCodecError) -> Result
  ) throws(QCodecError) -> [Result] {
    let parts = min(threads, count)
    guard parts > 0 else { return [] }
    let results = ResultSlots<Result>(count: parts)
    try parallelFor(count: parts, threads: threads) { part throws(QCodecError) in
      results[part] = try body(count * part / parts..<count * (part + 1) / parts)
    }
    return results.inOrder
  }
}

extension TensorSource {
  /// Calls `body` with the source of a code chunk.
  func withChunk<Result>(
    _ index: Int, of layout: TensorLayout, pool: BufferPool,
    _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    let offset = layout.elements(ofChunk: index).lowerBound * UInt64(layout.dtype.bitWidth / 8)
    return try unsafe withBytes(at: offset, count: layout.sourceByteCount(ofChunk: index), pool: pool, body)
  }
}
