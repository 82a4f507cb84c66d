/// Encodes the chunks of a first moment in the update domain together with those of its second moment, in any order and
/// on any thread: one pass over both where kernels serve the schemes.
public struct PairEncoder: Sendable {
  /// What encoding a chunk of each moment did.
  public struct Outcome: Sendable, Equatable {
    /// The first moment's statistics; as new where nothing was measured.
    public var first = TensorStatistics()
    /// The second moment's statistics; as new where nothing was measured.
    public var second = TensorStatistics()
    /// The error of the update; nil where no ε was given.
    public var update: UpdateError?
  }

  /// The first moment's encoder, of the update domain.
  public let first: ChunkEncoder
  /// The second moment's encoder.
  public let second: ChunkEncoder
  private let decoder: PairDecoder
  /// nil where the moments are encoded one after the other.
  private let kernels: PairKernels?

  /// An encoder of both moments.
  ///
  /// Throws as `PairDecoder` does for layouts that are no pair.
  public init(first: ChunkEncoder, second: ChunkEncoder) throws(QCodecError) {
    self.first = first
    self.second = second
    decoder = try PairDecoder(
      first: try ChunkDecoder(layout: first.layout, scales: first.scales),
      second: try ChunkDecoder(layout: second.layout, scales: second.scales), names: (first.name, second.name))
    kernels = PairKernels(first: first.kernels, second: second.kernels)
  }

  /// Encodes chunk `index` of both moments; the second moment's payload is what it would be alone.
  ///
  /// - Parameters:
  ///   - index: the chunk, counted from 0 within the tensor.
  ///   - source: the first moment's elements of the chunk, exactly their bytes in its dtype; `secondSource` likewise.
  ///   - secondSource: the second moment, exactly its bytes.
  ///   - payload: exactly `first.layout.payloadByteCount(ofChunk:)` bytes; `secondPayload` likewise.
  ///   - secondPayload: the second moment's.
  ///   - measures: whether to measure what encoding did to each moment.
  ///   - epsilon: ε of the update m/(√v + ε) whose error is measured; nil does not measure it.
  ///
  /// Throws as `ChunkEncoder.encode` does, for the second moment first; payloads then count for nothing. O(elements).
  public func encode(
    chunk index: Int, first source: UnsafeRawBufferPointer, second secondSource: UnsafeRawBufferPointer,
    into payload: UnsafeMutableRawBufferPointer, _ secondPayload: UnsafeMutableRawBufferPointer,
    measures: Bool = true, epsilon: Double? = nil
  ) throws(QCodecError) -> Outcome {
    if let kernels {
      let work = try unsafe PairChunk(
        first: first.moment(chunk: index, source: source, payload: payload),
        second: second.moment(chunk: index, source: secondSource, payload: secondPayload),
        count: secondSource.count / second.layout.elementSize)
      guard work.count > 0 else { return Outcome(update: epsilon.map { UpdateError(epsilon: $0) }) }
      let outcome = withCodecEnvironment { kernels.encode(work, measures: measures, epsilon: epsilon) }
      if let outcome { return outcome }
    }
    // One after the other: what kernels do not serve, and what is to be refused with its place.
    var outcome = Outcome()
    outcome.second = try unsafe second.encode(
      chunk: index, source: secondSource, into: secondPayload, measures: measures)
    let divisors = try unsafe decoder.second.divisors(chunk: index, payload: UnsafeRawBufferPointer(secondPayload))
    outcome.first = try unsafe first.encode(
      chunk: index, source: source, divisors: divisors, into: payload, measures: measures)
    if let epsilon {
      outcome.update = try unsafe updateError(
        chunk: index, (source, secondSource), (.init(payload), .init(secondPayload)), epsilon: epsilon)
    }
    return outcome
  }

  /// The error of the update where kernels do not measure it: from both moments as given and as their payloads decode.
  private func updateError(
    chunk index: Int, _ sources: (first: UnsafeRawBufferPointer, second: UnsafeRawBufferPointer),
    _ payloads: (first: UnsafeRawBufferPointer, second: UnsafeRawBufferPointer), epsilon: Double
  ) throws(QCodecError) -> UpdateError {
    var decoded = [UInt8](repeating: 0, count: unsafe sources.first.count)
    var decodedSecond = [UInt8](repeating: 0, count: unsafe sources.second.count)
    try unsafe decoded.withMutableBytes { decoded throws(QCodecError) in
      try unsafe decodedSecond.withMutableBytes { decodedSecond throws(QCodecError) in
        try unsafe decoder.decode(
          chunk: index, first: payloads.first, second: payloads.second, into: decoded, decodedSecond)
      }
    }
    let (dtype, secondDType) = (first.layout.dtype, second.layout.dtype)
    let (m, v) = unsafe (dtype.floats(sources.first), secondDType.floats(sources.second))
    let (decodedM, decodedV) = unsafe (
      decoded.withUnsafeBytes { unsafe dtype.floats($0) },
      decodedSecond.withUnsafeBytes { unsafe secondDType.floats($0) }
    )
    return withCodecEnvironment {
      UpdateError(epsilon: epsilon, count: m.count) { index in
        (Double(m[index]), Double(v[index]), Double(decodedM[index]), Double(decodedV[index]))
      }
    }
  }
}
