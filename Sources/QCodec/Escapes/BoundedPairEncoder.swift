/// The error that the update m/(√v + ε) of a pair of moments may have, element by element.
public struct UpdateBound: Sendable, Hashable {
  /// The largest |u − û|.
  public var limit: Double
  /// ε of the update.
  public var epsilon: Double
  /// The part of `limit` that coding the second moment may take by itself, above 0 and below 1.
  public var secondShare: Double

  /// Creates a bound.
  public init(limit: Double, epsilon: Double = 1e-8, secondShare: Double = 0.4) {
    self.limit = limit
    self.epsilon = epsilon
    self.secondShare = secondShare
  }

  /// m/(√v + ε) in float64; 0 where nothing moves.
  @inline(__always)
  package func update(_ m: Double, _ v: Double) -> Double { m == 0 && v == 0 ? 0 : m / (v.squareRoot() + epsilon) }
}

/// Encodes pairs of the update domain so that every element's update keeps a bound.
///
/// The second moment is escaped where coding it alone takes more than its share; the first where both together exceed
/// the bound. So a first moment escaped exactly always suffices.
package struct BoundedPairEncoder: Sendable {
  /// Both payloads with their escapes, and what encoding did.
  package struct Chunk: Sendable {
    package let first: [UInt8]
    package let second: [UInt8]
    package let outcome: PairEncoder.Outcome
  }

  private let first: ChunkEncoder
  private let second: ChunkEncoder
  private let decoder: PairDecoder
  private let bound: UpdateBound

  /// An encoder of both moments, whose schemes have escapes; throws as `PairEncoder` does.
  package init(first: ChunkEncoder, second: ChunkEncoder, bound: UpdateBound) throws(QCodecError) {
    self.first = first
    self.second = second
    self.bound = bound
    decoder = try PairDecoder(
      first: try ChunkDecoder(layout: first.layout, scales: first.scales),
      second: try ChunkDecoder(layout: second.layout, scales: second.scales), names: (first.name, second.name))
  }

  /// Encodes a chunk of both, and measures what that did if it is to; throws as `PairEncoder.encode` does.
  package func encode(
    chunk index: Int, first source: UnsafeRawBufferPointer, second secondSource: UnsafeRawBufferPointer,
    measures: Bool = true, epsilon: Double?
  ) throws(QCodecError) -> Chunk {
    let m = unsafe EscapeValues(source, layout: first.layout)
    let v = unsafe EscapeValues(secondSource, layout: second.layout)
    var outcome = PairEncoder.Outcome()
    let ofSecond = try unsafe encodeSecond(index, secondSource, m, v, measures)
    outcome.second = ofSecond.statistics
    let decodedV = try decoder.second.floats(chunk: index, ofSecond.payload)
    let divisors = try unsafe ofSecond.payload.withBytes { bytes throws(QCodecError) in
      try unsafe decoder.second.divisors(chunk: index, payload: bytes)
    }
    let ofFirst = try unsafe encodeFirst(index, source, m, v, decodedV, divisors, measures)
    outcome.first = ofFirst.statistics
    if let epsilon {
      let decodedM = try decoder.first.floats(chunk: index, ofFirst.payload, divisors: divisors)
      outcome.update = withCodecEnvironment {
        UpdateError(epsilon: epsilon, count: decodedM.count) { element in
          (
            Double(m.values[element]), Double(v.values[element]), Double(decodedM[element]), Double(decodedV[element])
          )
        }
      }
    }
    return Chunk(first: ofFirst.payload, second: ofSecond.payload, outcome: outcome)
  }

  private func encodeSecond(
    _ index: Int, _ source: UnsafeRawBufferPointer, _ m: EscapeValues, _ v: EscapeValues, _ measures: Bool
  ) throws(QCodecError) -> (payload: [UInt8], statistics: TensorStatistics) {
    let coded = try unsafe second.encodeClipped(chunk: index, source: source, v, measures: measures)
    let decoded = try decoder.second.floats(chunk: index, coded.payload)
    let criterion = SecondMomentCriterion(first: m.values, second: v.values, bound: bound)
    let limit = second.tensorScale.map { Double($0.magnitude) } ?? .infinity
    return try withCodecEnvironment { () throws(QCodecError) in
      let violations = decoded.indices.filter {
        !criterion.holds($0, Double(decoded[$0]), reach: 0) || Double(v.values[$0]) > limit
      }
      let escapes = EscapeWriter(violations, of: v, criterion)
      return try unsafe second.finish(
        chunk: index, source: source, coded, escapes, values: v, divisors: [], measures: measures)
    }
  }

  private func encodeFirst(
    _ index: Int, _ source: UnsafeRawBufferPointer, _ m: EscapeValues, _ v: EscapeValues, _ decodedV: [Float],
    _ divisors: [Float], _ measures: Bool
  ) throws(QCodecError) -> (payload: [UInt8], statistics: TensorStatistics) {
    let coded = try unsafe first.encodeClipped(
      chunk: index, source: source, m, divisors: divisors, measures: measures)
    let decoded = try decoder.first.floats(chunk: index, coded.payload, divisors: divisors)
    let criterion = FirstMomentCriterion(first: m.values, second: v.values, decodedSecond: decodedV, bound: bound)
    // What Spec/ErrorBounds.md takes for granted of codes, U1.
    let limit = first.tensorScale.map { Double($0.magnitude) * (1 + 0x1p-16) } ?? .infinity
    return try withCodecEnvironment { () throws(QCodecError) in
      let violations = decoded.indices.filter {
        !criterion.holds($0, Double(decoded[$0]), reach: 0) || Double((m.values[$0] / divisors[$0]).magnitude) > limit
      }
      let escapes = EscapeWriter(violations, of: m, criterion)
      return try unsafe first.finish(
        chunk: index, source: source, coded, escapes, values: m, divisors: divisors, measures: measures)
    }
  }
}
