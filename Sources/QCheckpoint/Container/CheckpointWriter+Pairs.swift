import QCodec

/// One moment of a pair to be added.
public struct Moment: Sendable {
  /// 1 byte to 64 KiB of UTF-8, unlike every other.
  public var name: String
  /// The type of the elements.
  public var dtype: DType
  /// What the tensor is to the optimizer.
  public var role: Role
  /// How it is to be stored.
  public var encoding: Encoding
  /// Whether a negative element under an unsigned map makes the tensor lossless, not an error.
  public var negativeFallsBack: Bool
  /// The lossless stage; nil for that of the whole checkpoint.
  public var compression: Compression?
  /// The elements in C order.
  public var source: any TensorSource

  /// Describes a moment.
  public init(
    name: String, dtype: DType, role: Role, encoding: Encoding, negativeFallsBack: Bool = false,
    compression: Compression? = nil, source: any TensorSource
  ) {
    self.name = name
    self.dtype = dtype
    self.role = role
    self.encoding = encoding
    self.negativeFallsBack = negativeFallsBack
    self.compression = compression
    self.source = source
  }
}

extension CheckpointWriter {
  /// Adds a first moment with its second moment.
  ///
  /// In the update domain the first is stored divided by the root of what the second decodes to, and the chunks of both
  /// alternate. Where that cannot be (the second turns out lossless, is signed or an import, or a quotient overflows),
  /// the first is stored under `fallback`, and the directory says why. Both are looked over before their first byte is
  /// written.
  ///
  /// - Parameters:
  ///   - shape: of both, up to 32 lengths.
  ///   - fallback: the scheme of the value domain that the first moment gets where its own cannot be had; nil for the
  ///     signed dynamic map of the same width.
  ///   - epsilon: ε of the update m/(√v + ε) whose error is measured and recorded; nil does not measure.
  ///
  /// Throws as `add(name:dtype:shape:role:encoding:source:nonFinite:negativeFallsBack:)`, and `unsupportedScheme` for a
  /// second moment or a fallback in the update domain.
  public func addPair(
    first: Moment, second: Moment, shape: [UInt64], fallback: Scheme? = nil, nonFinite: NonFinitePolicy = .error,
    measuring epsilon: Double? = nil
  ) throws(QCodecError) {
    let one = TensorDescription(
      name: first.name, dtype: first.dtype, shape: shape, role: first.role, compression: first.compression)
    let other = TensorDescription(
      name: second.name, dtype: second.dtype, shape: shape, role: second.role, compression: second.compression)
    guard first.name != second.name else {
      throw QCodecError(.duplicateName, "both moments of a pair have this name", tensor: first.name)
    }
    try check(one, source: first.source)
    try check(other, source: second.source)
    let layouts = (first: try layout(of: one, first.encoding), second: try layout(of: other, second.encoding))
    let fallback = try (fallback ?? layouts.first?.scheme.updateFallback).flatMap { scheme throws(QCodecError) in
      try layout(of: one, .quantized(scheme))
    }
    guard layouts.second?.scheme.domain != .update, fallback?.scheme.domain != .update else {
      throw QCodecError(
        .unsupportedScheme, "a second moment and a fallback are of the value domain", tensor: first.name)
    }
    try commit([other, one]) { () throws(QCodecError) in
      var pair = PairWork(first: one, second: other, sources: (first.source, second.source), nonFinite: nonFinite)
      try pair.settle(first, second, layouts: layouts, fallback: fallback)
      return try write(pair, epsilon: epsilon)
    }
  }

  /// Writes both moments; their records, the second's first.
  private func write(_ pair: PairWork, epsilon: Double?) throws(QCodecError) -> [TensorRecord] {
    var second = try open(pair.second, layout: pair.secondLayout, reason: pair.secondReason)
    var first = try open(pair.first, layout: pair.firstLayout, reason: pair.firstReason, number: tensors.count + 1)
    let isUpdate = pair.firstLayout?.scheme.domain == .update
    if isUpdate {
      first.record.reference = tensors.count
      // Frames count tensors by their first chunks: with scales of its own the first moment begins.
      first.preamble.reference = nextOrdinal + (pair.firstScales.isEmpty ? 0 : 1)
    }
    let work = PairPreparation(
      first: try preparation(pair.first, layout: pair.firstLayout, scales: pair.firstScales),
      second: try preparation(pair.second, layout: pair.secondLayout, scales: pair.secondScales),
      decoder: try pair.secondLayout.map { layout throws(QCodecError) in
        try ChunkDecoder(layout: layout, scales: pair.secondScales)
      }, firstScales: pair.firstScales, sources: pair.sources)
    if isUpdate, first.record.elementCount > 0 {
      (first.record.stride, second.record.stride) = (2, 2)
      try writeScales(pair.firstScales, work.first, to: &first)
      try writeScales(pair.secondScales, work.second, to: &second)
      let error = try writeAlternating(work, &first, &second, epsilon: epsilon)
      if let error { note(pair: tensors.count + 1, tensors.count, error) }
    } else {
      try writeData(work.second, source: pair.sources.second, scales: pair.secondScales, to: &second)
      try writeData(work.first, source: pair.sources.first, scales: pair.firstScales, to: &first)
    }
    return [second.record, first.record]
  }

  private func writeAlternating(
    _ work: PairPreparation, _ first: inout OpenTensor, _ second: inout OpenTensor, epsilon: Double?
  ) throws(QCodecError) -> UpdateError? {
    var total = epsilon.map { UpdateError(epsilon: $0) }
    let count = Int(work.second.plan.dataChunks)
    for start in stride(from: 0, to: count, by: groupSize) {
      let size = min(groupSize, count - start)
      let results = ResultSlots<PairPreparation.Chunks>(count: size)
      try parallelFor(count: size, threads: options.threads) { index throws(QCodecError) in
        results[index] = try work.prepare(start + index, epsilon: epsilon)
      }
      for chunks in results.inOrder {
        try take(chunks.second, into: &second)
        try take(chunks.first, into: &first)
        if let error = chunks.error { withCodecEnvironment { total?.append(error) } }
      }
    }
    return total
  }
}

/// Makes the chunks of a pair in the update domain, both moments of a chunk at a time.
struct PairPreparation: Sendable {
  /// Both chunks of the same elements.
  struct Chunks: Sendable {
    let first: PreparedChunk
    let second: PreparedChunk
    let error: UpdateError?
  }

  let first: ChunkPreparation
  let second: ChunkPreparation
  /// Of the second moment; nil where it is lossless.
  let decoder: ChunkDecoder?
  let firstScales: [Float]
  let sources: (first: any TensorSource, second: any TensorSource)

  func prepare(_ index: Int, epsilon: Double?) throws(QCodecError) -> Chunks {
    guard let decoder, let layout = first.plan.layout else {
      preconditionFailure("a pair of the update domain is quantized")
    }
    let v = try second.source(ofChunk: index, from: sources.second)
    let secondPayload = try second.payload(index, v)
    let divisors = try unsafe secondPayload.bytes.withBytes { bytes throws(QCodecError) in
      try unsafe decoder.divisors(chunk: index, payload: bytes)
    }
    let m = try first.source(ofChunk: index, from: sources.first)
    let firstPayload = try first.payload(index, m, divisors: divisors)
    var error: UpdateError?
    if let epsilon {
      let own = try ChunkDecoder(layout: layout, scales: firstScales)
      error = MomentChunk(
        m: m, v: v, decodedM: try Self.decoded(own, index, firstPayload.bytes, divisors: divisors),
        decodedV: try Self.decoded(decoder, index, secondPayload.bytes), first: layout.dtype,
        second: decoder.layout.dtype
      ).updateError(epsilon: epsilon)
    }
    return Chunks(
      first: try first.finish(firstPayload), second: try second.finish(secondPayload), error: error)
  }

  private static func decoded(
    _ decoder: ChunkDecoder, _ index: Int, _ payload: [UInt8], divisors: [Float] = []
  ) throws(QCodecError) -> [UInt8] {
    var values = [UInt8](repeating: 0, count: decoder.layout.sourceByteCount(ofChunk: index))
    try unsafe payload.withBytes { payload throws(QCodecError) in
      try unsafe values.withMutableBytes { values throws(QCodecError) in
        try unsafe decoder.decode(chunk: index, payload: payload, divisors: divisors, into: values)
      }
    }
    return values
  }
}

/// The moments of one chunk as given and as decoded, in their dtypes.
private struct MomentChunk {
  let m: [UInt8]
  let v: [UInt8]
  let decodedM: [UInt8]
  let decodedV: [UInt8]
  let first: DType
  let second: DType

  func updateError(epsilon: Double) -> UpdateError {
    let (m, v) = (floats(self.m, first), floats(self.v, second))
    let (decodedM, decodedV) = (floats(self.decodedM, first), floats(self.decodedV, second))
    return withCodecEnvironment {
      UpdateError(epsilon: epsilon, count: m.count) { index in
        (Double(m[index]), Double(v[index]), Double(decodedM[index]), Double(decodedV[index]))
      }
    }
  }

  private func floats(_ bytes: [UInt8], _ dtype: DType) -> [Float] {
    unsafe bytes.withUnsafeBytes { unsafe dtype.floats($0) }
  }
}
