/// What every element of a tensor is to keep, with x̂ the value decoded into the tensor's dtype and arithmetic in float64.
public enum ElementBound: Sendable, Hashable {
  /// |x − x̂| ≤ the bound.
  case absolute(Double)
  /// |x − x̂| ≤ the bound times |x|; zero stays zero.
  case relative(Double)

  /// Whether a value may stand for another.
  @inline(__always)
  package func holds(_ exact: Double, _ decoded: Double) -> Bool {
    switch self {
    case .absolute(let bound): (exact - decoded).magnitude <= bound
    case .relative(let bound): (exact - decoded).magnitude <= bound * exact.magnitude
    }
  }
}

/// Encodes chunks so that every element keeps a bound: what codes do not is escaped, in the fewest bits that do.
///
/// Each chunk is decoded as a reader would, and compared with what was given.
package struct BoundedEncoder: Sendable {
  private let encoder: ChunkEncoder
  private let decoder: ChunkDecoder
  private let bound: ElementBound

  /// A bounded encoder of a tensor of the value domain, whose scheme has escapes.
  package init(_ encoder: ChunkEncoder, bound: ElementBound) throws(QCodecError) {
    self.encoder = encoder
    self.bound = bound
    decoder = try ChunkDecoder(layout: encoder.layout, scales: encoder.scales)
  }

  /// The payload of a chunk with its escapes, and what encoding did to it, if that is to be measured; throws as
  /// `ChunkEncoder.encode` does.
  package func encode(
    chunk index: Int, source: UnsafeRawBufferPointer, measures: Bool = true
  ) throws(QCodecError) -> (payload: [UInt8], statistics: TensorStatistics) {
    let values = unsafe EscapeValues(source, layout: encoder.layout, bound: bound)
    let coded = try unsafe encoder.encodeClipped(chunk: index, source: source, values, measures: measures)
    let decoded = try decoder.floats(chunk: index, coded.payload)
    let limit = encoder.tensorScale.map { Double($0.magnitude) } ?? .infinity
    let test = ElementTest(values: values.values, bound: bound)
    return try withCodecEnvironment { () throws(QCodecError) in
      let violations = values.values.indices.filter { element in
        !test.holds(element, Double(decoded[element]), reach: 0) || Double(values.values[element].magnitude) > limit
      }
      let escapes = EscapeWriter(violations, of: values, test)
      return try unsafe encoder.finish(
        chunk: index, source: source, coded, escapes, values: values, divisors: [], measures: measures)
    }
  }
}

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
    let codes = try escapes.isEmpty || tensorScale == nil ? coded : silent(index, escapes, values, divisors, measures)
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
  private func silent(
    _ index: Int, _ escapes: EscapeWriter, _ values: EscapeValues, _ divisors: [Float], _ measures: Bool
  ) throws(QCodecError) -> CodedChunk {
    var rest = (divisors.isEmpty ? clipped(values) : nil) ?? values.values
    for run in escapes.runs {
      for element in run.elements { rest[element] = 0 }
    }
    return try coded(chunk: index, instead: rest, divisors: divisors, measures: measures)
  }
}

extension ChunkDecoder {
  /// The elements of a chunk in float32, as they decode into the tensor's dtype.
  func floats(chunk index: Int, _ payload: [UInt8], divisors: [Float] = []) throws(QCodecError) -> [Float] {
    var bytes = [UInt8](repeating: 0, count: layout.sourceByteCount(ofChunk: index))
    try unsafe payload.withBytes { payload throws(QCodecError) in
      try unsafe bytes.withMutableBytes { target throws(QCodecError) in
        try unsafe decode(chunk: index, payload: payload, divisors: divisors, into: target)
      }
    }
    return unsafe bytes.withBytes { unsafe layout.dtype.floats($0) }
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
