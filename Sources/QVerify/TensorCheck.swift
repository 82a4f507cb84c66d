import QCheckpoint
import QCodec

/// What checking a tensor, or a chunk of it, found.
struct Measurement: Sendable {
  var maxAbsError = 0.0
  var squaredError = 0.0
  var squaredSource = 0.0
  var violations: UInt64 = 0
  var firstViolation: VerificationReport.Violation?
  /// The largest bound of any element; nil where nothing is guaranteed.
  var guarantee: Double? = 0

  var relativeL2Error: Double { squaredError == 0 ? 0 : (squaredError / squaredSource).squareRoot() }

  /// Folds in what comes next in the tensor.
  mutating func append(_ next: Measurement) {
    maxAbsError = max(maxAbsError, next.maxAbsError)
    squaredError += next.squaredError
    squaredSource += next.squaredSource
    violations += next.violations
    if firstViolation == nil { firstViolation = next.firstViolation }
    if let own = guarantee, let other = next.guarantee { guarantee = max(own, other) } else { guarantee = nil }
  }
}

/// Checks one tensor, chunk by chunk on several threads.
struct TensorCheck: Sendable {
  let reader: CheckpointReader
  let index: Int
  let info: TensorInfo
  /// The original; nil to recompute the guarantee only.
  let source: InputTensor?
  let threads: Int

  func run() throws(QCodecError) -> Measurement {
    guard let layout = try reader.layout(of: index) else { return try checkLossless() }
    let scales = try reader.scales(of: index)
    let decoder = try ChunkDecoder(layout: layout, scales: scales)
    let plain = PlainTensor(layout: layout, scales: scales)
    let bound = SchemeBound(layout: layout)
    let first = info.chunks.lowerBound + layout.scaleChunkCount
    var total = try combine(layout.codeChunkCount) { chunk throws(QCodecError) in
      let payload = try reader.payload(ofChunk: first + chunk)
      try checkDecodes(chunk, payload: payload, decoder: decoder)
      return try checkChunk(chunk, payload: payload, plain: plain, bound: bound)
    }
    if bound.radii == nil { total.guarantee = nil }
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

  private func checkChunk(
    _ chunk: Int, payload: [UInt8], plain: PlainTensor, bound: SchemeBound
  ) throws(QCodecError) -> Measurement {
    let range = plain.layout.elements(ofChunk: chunk)
    let count = Int(range.upperBound - range.lowerBound)
    let original = try sourceBytes(range, size: info.dtype.bitWidth / 8)
    var result = Measurement()
    for i in 0..<count {
      let element = range.lowerBound + UInt64(i)
      let scale = plain.scale(of: element, payload: payload, chunkStart: range.lowerBound)
      let code = plain.code(i, payload: payload, count: count)
      let limit = bound.bound(code: code, scale: scale)
      if let limit, let guarantee = result.guarantee { result.guarantee = max(guarantee, limit) }
      guard let original else { continue }
      let got = plain.value(code: code, scale: scale)
      let expected = PlainFloat.value(original, i, dtype: info.dtype)
      let difference = (expected - got).magnitude
      let error = difference.isNaN ? .infinity : difference
      result.maxAbsError = max(result.maxAbsError, error)
      result.squaredError += error * error
      result.squaredSource += expected * expected
      if let limit, error > limit || error == .infinity {
        result.note(info.name, element, expected: expected, got: got, bound: limit, "an element exceeds its bound")
      }
    }
    return result
  }

  /// What the codec's decoder refuses, scales and codes that no encoder writes, is no valid file.
  private func checkDecodes(_ chunk: Int, payload: [UInt8], decoder: ChunkDecoder) throws(QCodecError) {
    var values = [UInt8](repeating: 0, count: decoder.layout.sourceByteCount(ofChunk: chunk))
    try unsafe payload.withBytes { payload throws(QCodecError) in
      try unsafe values.withMutableBytes { values throws(QCodecError) in
        try unsafe decoder.decode(chunk: chunk, payload: payload, into: values)
      }
    }
  }

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
    guard let source else { return Measurement() }
    var offset: UInt64 = 0
    var starts: [UInt64] = []
    for chunk in info.chunks {
      starts.append(offset)
      offset += UInt64(reader.chunk(chunk).rawLength)
    }
    let places = starts
    return try combine(info.chunks.count) { chunk throws(QCodecError) in
      let payload = try reader.payload(ofChunk: info.chunks.lowerBound + chunk)
      let original = try read(source.source, at: places[chunk], count: payload.count)
      return compare(payload, original, at: places[chunk])
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
