import QCheckpoint
import QCodec

/// What is guaranteed of |x − x̂|, and under `log` and in the update domain of the error relative to x or to √v̂.
struct Guarantee: Equatable, Sendable {
  var absolute = 0.0
  var relative = 0.0
}

/// What checking a tensor, or a chunk of it, found.
struct Measurement: Sendable {
  var maxAbsError = 0.0
  var squaredError = 0.0
  var squaredSource = 0.0
  var violations: UInt64 = 0
  var firstViolation: VerificationReport.Violation?
  /// The largest bounds of any element; nil where nothing is guaranteed.
  var guarantee: Guarantee? = Guarantee()

  var relativeL2Error: Double { squaredError == 0 ? 0 : (squaredError / squaredSource).squareRoot() }

  /// Folds in what comes next in the tensor.
  mutating func append(_ next: Measurement) {
    maxAbsError = max(maxAbsError, next.maxAbsError)
    squaredError += next.squaredError
    squaredSource += next.squaredSource
    violations += next.violations
    if firstViolation == nil { firstViolation = next.firstViolation }
    if let other = next.guarantee { take(guarantee: other) } else { guarantee = nil }
  }

  /// Takes in the bounds of an element or of others.
  mutating func take(guarantee other: Guarantee) {
    guard let own = guarantee else { return }
    guarantee = Guarantee(absolute: max(own.absolute, other.absolute), relative: max(own.relative, other.relative))
  }
}

/// Checks one tensor, chunk by chunk on several threads.
struct TensorCheck: Sendable {
  let reader: CheckpointReader
  let index: Int
  let info: TensorInfo
  /// The original; nil to recompute the guarantee only.
  let source: InputTensor?
  /// What every element was to keep; nil where nothing was asked for.
  var asked: ElementBound?
  let threads: Int
  /// Called with the decoded bytes of each chunk that was checked.
  let progress: @Sendable (UInt64) -> Void

  func run() throws(QCodecError) -> Measurement {
    guard let layout = try reader.layout(of: index) else { return try checkLossless() }
    let own = try PlainTensor(reader, index, layout: layout)
    let second = try info.reference.map { index throws(QCodecError) in try PlainTensor(reader, index) }
    let bounds = ElementBounds(layout: layout)
    var total = try combine(layout.codeChunkCount) { chunk throws(QCodecError) in
      let work = PlainPair(own: try own.chunk(chunk), second: try second?.chunk(chunk))
      let result = try checkChunk(work, bounds: bounds)
      progress(UInt64(layout.sourceByteCount(ofChunk: chunk)))
      return result
    }
    if layout.scheme.rounding == .unknown { total.guarantee = nil }
    return total
  }

  private func combine(
    _ count: Int, _ body: @escaping @Sendable (Int) throws(QCodecError) -> Measurement
  ) throws(QCodecError) -> Measurement {
    var total = Measurement()
    let group = 2 * threads
    for start in stride(from: 0, to: count, by: group) {
      let size = min(group, count - start)
      let results = ResultSlots<Measurement>(count: size)
      try parallelFor(count: size, threads: threads) { index throws(QCodecError) in
        results[index] = try body(start + index)
      }
      for result in results.inOrder { total.append(result) }
    }
    return total
  }

  // MARK: Quantized

  private func checkChunk(_ chunk: PlainPair, bounds: ElementBounds) throws(QCodecError) -> Measurement {
    let range = chunk.own.range
    let original = try sourceBytes(range, size: info.dtype.bitWidth / 8)
    var result = Measurement()
    bounds.takeGuarantees(of: chunk, into: &result)
    for i in 0..<chunk.own.count {
      let divisor = chunk.second?.divisor(i)
      let limit = bounds.limit(chunk.own, i, divisor: divisor)
      if let limit { result.take(guarantee: limit) }
      if chunk.own.escape(i) != nil, let other = bounds.codeLimit(chunk.own, i, divisor: divisor) {
        result.take(guarantee: other)
      }
      guard let original else { continue }
      let got = chunk.own.value(i, divisor: divisor)
      let expected = PlainFloat.value(original, i, dtype: info.dtype)
      let difference = (expected - got).magnitude
      let error = difference.isNaN ? .infinity : difference
      result.maxAbsError = max(result.maxAbsError, error)
      result.squaredError += error * error
      result.squaredSource += expected * expected
      let element = range.lowerBound + UInt64(i)
      if let asked, !asked.holds(expected, got) {
        result.note(
          info.name, element, expected: expected, got: got, bound: asked.limit(expected),
          "an element exceeds the bound that was asked for")
        continue
      }
      guard let limit else { continue }
      if error > limit.absolute || error == .infinity {
        result.note(
          info.name, element, expected: expected, got: got, bound: limit.absolute, "an element exceeds its bound")
      } else if layout(isLog: bounds), error > limit.relative * expected || (expected > 0) != (got > 0) {
        result.note(
          info.name, element, expected: expected, got: got, bound: limit.relative * expected,
          "an element exceeds its relative bound")
      }
    }
    return result
  }

  private func layout(isLog bounds: ElementBounds) -> Bool { bounds.log != nil }

  /// The original's bytes of a range of elements, or nil without an original.
  private func sourceBytes(_ range: Range<UInt64>, size: Int) throws(QCodecError) -> [UInt8]? {
    guard let source else { return nil }
    let offset = range.lowerBound * UInt64(size)
    return try read(source.source, at: offset, count: Int(range.upperBound - range.lowerBound) * size)
  }

  private func read(_ source: any TensorSource, at offset: UInt64, count: Int) throws(QCodecError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in try unsafe source.read(at: offset, into: buffer) }
    return bytes
  }

  // MARK: Lossless

  private func checkLossless() throws(QCodecError) -> Measurement {
    guard let source else { return try checkDecompresses() }
    var offset: UInt64 = 0
    var starts: [UInt64] = []
    for chunk in info.chunks {
      starts.append(offset)
      offset += UInt64(reader.chunk(chunk).rawLength)
    }
    let places = starts
    return try combine(info.chunks.count) { chunk throws(QCodecError) in
      let payload = try reader.payload(ofChunk: info.chunks[chunk])
      let original = try read(source.source, at: places[chunk], count: payload.count)
      let result = compare(payload, original, at: places[chunk])
      progress(UInt64(payload.count))
      return result
    }
  }

  /// A right checksum does not say that a chunk decompresses to its size, or that a base has it; plain chunks have no other way
  /// to be wrong.
  private func checkDecompresses() throws(QCodecError) -> Measurement {
    try combine(info.chunks.count) { chunk throws(QCodecError) in
      let place = info.chunks[chunk]
      if reader.chunk(place).compression != .none || reader.chunk(place).relation != .own {
        _ = try reader.payload(ofChunk: place)
      }
      progress(UInt64(reader.chunk(place).rawLength))
      return Measurement()
    }
  }

  private func compare(_ payload: [UInt8], _ original: [UInt8], at offset: UInt64) -> Measurement {
    var result = Measurement()
    guard payload != original else { return result }
    let size = max(1, info.dtype.bitWidth / 8)
    for index in 0..<payload.count / size
    where payload[index * size..<(index + 1) * size] != original[index * size..<(index + 1) * size] {
      // Of elements that share a byte, the first that lies in it.
      let element = (offset + UInt64(index * size)) * 8 / UInt64(info.dtype.bitWidth)
      result.note(
        info.name, element,
        expected: PlainFloat.number(original, index, dtype: info.dtype),
        got: PlainFloat.number(payload, index, dtype: info.dtype), bound: 0, "a lossless element differs")
    }
    return result
  }
}

extension Measurement {
  fileprivate mutating func note(
    _ tensor: String, _ index: UInt64, expected: Double, got: Double, bound: Double, _ reason: String
  ) {
    violations += 1
    let error = (expected - got).magnitude
    maxAbsError = max(maxAbsError, error.isNaN ? .infinity : error)
    guard firstViolation == nil else { return }
    firstViolation = .init(tensor: tensor, index: index, expected: expected, got: got, bound: bound, reason: reason)
  }
}
