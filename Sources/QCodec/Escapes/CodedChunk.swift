/// A chunk's codes before its escapes.
struct CodedChunk {
  /// Block scales and codes, and an empty section of escapes.
  var payload: [UInt8]
  var statistics: TensorStatistics
  /// Whether what was measured is not of the values that were given.
  var isClipped = false
}

extension ChunkEncoder {
  /// The one scale of `tensor` scaling, which may lie below the extreme.
  var tensorScale: Float? { layout.scheme.scaling == .tensor ? scales.first : nil }

  /// The codes of a chunk, elements beyond the scale having the end codes.
  func encodeClipped(
    chunk index: Int, source: UnsafeRawBufferPointer, _ values: EscapeValues, divisors: [Float] = [], measures: Bool
  ) throws(QCodecError) -> CodedChunk {
    guard divisors.isEmpty, let clipped = clipped(values) else {
      return try unsafe coded(chunk: index, source: source, divisors: divisors, measures: measures)
    }
    return try coded(chunk: index, instead: clipped, divisors: [], measures: measures)
  }

  /// The elements, those beyond the scale moved to it; nil if none are.
  private func clipped(_ values: EscapeValues) -> [Float]? {
    guard let scale = tensorScale?.magnitude,
      values.values.contains(where: { $0.magnitude > scale && $0.isFinite })
    else { return nil }
    let end = layout.dtype.greatest(atMost: scale)
    // What is not finite, or has a sign that the map has not, is for the encoder to refuse.
    return values.values.map { $0.isFinite ? max(-end, min(end, $0)) : $0 }
  }

  /// The codes of a chunk of other elements than those that were given.
  private func coded(
    chunk index: Int, instead values: [Float], divisors: [Float], measures: Bool
  ) throws(QCodecError) -> CodedChunk {
    var bytes = [UInt8](repeating: 0, count: values.count * layout.elementSize)
    unsafe bytes.withMutableBytes { unsafe layout.dtype.store(values, into: $0) }
    var result = try unsafe bytes.withBytes { bytes throws(QCodecError) in
      try unsafe coded(chunk: index, source: bytes, divisors: divisors, measures: measures)
    }
    result.isClipped = true
    return result
  }

  private func coded(
    chunk index: Int, source: UnsafeRawBufferPointer, divisors: [Float], measures: Bool
  ) throws(QCodecError) -> CodedChunk {
    let base = layout.payloadByteCount(ofChunk: index)
    var payload = [UInt8](repeating: 0, count: base + EscapeSection.countSize)
    let statistics = try unsafe payload.withMutableBytes { bytes throws(QCodecError) in
      try unsafe encode(
        chunk: index, source: source, divisors: divisors,
        into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<base]), measures: measures)
    }
    return CodedChunk(payload: payload, statistics: statistics)
  }

  /// Adds escapes to a chunk's codes.
  func finish(
    chunk index: Int, source: UnsafeRawBufferPointer, _ coded: CodedChunk, _ escapes: EscapeWriter,
    values: EscapeValues, divisors: [Float], measures: Bool
  ) throws(QCodecError) -> (payload: [UInt8], statistics: TensorStatistics) {
    guard !escapes.isEmpty || coded.isClipped else { return (coded.payload, coded.statistics) }
    let codes = try escapes.isEmpty || tensorScale == nil ? coded : zeroing(index, escapes, values, divisors, measures)
    var payload = codes.payload
    payload.removeLast(EscapeSection.countSize)
    escapes.append(to: &payload, stored: values.stored)
    guard measures else { return (payload, coded.statistics) }
    let measured = try unsafe payload.withBytes { bytes throws(QCodecError) in
      try unsafe statistics(
        chunk: index, source: source, divisors: divisors, payload: bytes, codes: codes.statistics)
    }
    return (payload, measured)
  }

  /// The codes of a chunk whose escaped elements all have the code of zero, so that an entropy coder pays for their values
  /// alone. Under the one scale of a tensor the others keep their codes.
  private func zeroing(
    _ index: Int, _ escapes: EscapeWriter, _ values: EscapeValues, _ divisors: [Float], _ measures: Bool
  ) throws(QCodecError) -> CodedChunk {
    var rest = (divisors.isEmpty ? clipped(values) : nil) ?? values.values
    for run in escapes.runs {
      for element in run.elements { rest[element] = 0 }
    }
    return try coded(chunk: index, instead: rest, divisors: divisors, measures: measures)
  }
}

extension DType {
  /// The largest value of the type that is no larger than a positive float32.
  fileprivate func greatest(atMost limit: Float) -> Float {
    switch self {
    case .bf16: return Float(bitPattern: limit.bitPattern & ~0xFFFF)
    case .f16:
      let half = ScalarKernels.half(limit)
      let value = ScalarKernels.float(half: half)
      return value > limit ? ScalarKernels.float(half: half - 1) : value
    default: return limit
    }
  }
}
