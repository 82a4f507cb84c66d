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
    let criterion = ElementCriterion(values: values.values, bound: bound)
    return try withCodecEnvironment { () throws(QCodecError) in
      let violations = values.values.indices.filter { element in
        !criterion.holds(element, Double(decoded[element]), reach: 0)
          || Double(values.values[element].magnitude) > limit
      }
      let escapes = EscapeWriter(violations, of: values, criterion)
      return try unsafe encoder.finish(
        chunk: index, source: source, coded, escapes, values: values, divisors: [], measures: measures)
    }
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
