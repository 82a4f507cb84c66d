import QCheckpoint
import QCodec

extension Verifier {
  /// A pair of moments, by the numbers of its tensors, and what the original has for both.
  struct MeasurablePair {
    let first: Int
    let second: Int
    let m: InputTensor
    let v: InputTensor

    /// Of both.
    var sourceBytes: UInt64 { m.source.byteCount + v.source.byteCount }
  }

  /// Every pair of moments whose both tensors the original has.
  func measurablePairs(in original: InputDocument) -> [MeasurablePair] {
    let sources = Self.byName(original.tensors)
    return reader.momentPairs().compactMap { first, second in
      guard let m = Self.usable(reader.tensor(first), sources), let v = Self.usable(reader.tensor(second), sources)
      else { return nil }
      return MeasurablePair(first: first, second: second, m: m, v: v)
    }
  }

  /// Measures the update of those pairs.
  func measureUpdates(
    against original: InputDocument, report: inout VerificationReport, progress: @escaping @Sendable (UInt64) -> Void
  ) throws(QCodecError) {
    var total = UpdateError(epsilon: epsilon)
    for pair in measurablePairs(in: original) {
      let check = try UpdateCheck(reader: reader, pair, epsilon: epsilon, threads: threads)
      let error = try check.run(progress: progress)
      report.tensors[pair.first].updateError = error
      report.tensors[pair.first].secondMoment = reader.tensor(pair.second).name
      report.pairs += 1
      total.append(error)
    }
    report.updateError = total
    checkUpdate(total, report: &report)
  }

  private static func usable(_ info: TensorInfo, _ sources: [[UInt8]: InputTensor]) -> InputTensor? {
    guard let source = sources[Array(info.name.utf8)], source.dtype == info.dtype, source.shape == info.shape else {
      return nil
    }
    return [.f32, .f64, .f16, .bf16].contains(info.dtype) ? source : nil
  }

  private func checkUpdate(_ total: UpdateError, report: inout VerificationReport) {
    let checks = [
      (total.relativeL2Error, limits.maxUpdateError, "the relative L2 error of the update is above the limit"),
      (total.maxAbsError, limits.maxUpdateAbsolute, "the largest error of an update is above the limit"),
    ]
    // NaN exceeds every limit.
    for case (let got, let limit?, let reason) in checks where !(got <= limit) {
      report.add(.init(tensor: nil, index: nil, expected: nil, got: got, bound: limit, reason: reason))
    }
  }
}

/// The update of one pair, chunk by chunk, by plain code.
struct UpdateCheck: Sendable {
  private let m: Side
  private let v: Side
  private let epsilon: Double
  private let threads: Int
  private let elements: UInt64

  init(
    reader: CheckpointReader, _ pair: Verifier.MeasurablePair, epsilon: Double, threads: Int
  ) throws(QCodecError) {
    m = try Side(reader, pair.first, source: pair.m)
    v = try Side(reader, pair.second, source: pair.v)
    self.epsilon = epsilon
    self.threads = threads
    elements = reader.tensor(pair.first).elementCount
  }

  func run(progress: @escaping @Sendable (UInt64) -> Void) throws(QCodecError) -> UpdateError {
    var total = UpdateError(epsilon: epsilon)
    let size = UInt64(TensorLayout.chunkElements)
    let count = Int((elements + size - 1) / size)
    let group = 2 * threads
    for start in stride(from: 0, to: count, by: group) {
      let results = ResultSlots<UpdateError>(count: min(group, count - start))
      try parallelFor(count: min(group, count - start), threads: threads) { index throws(QCodecError) in
        results[index] = try measure(chunk: start + index, progress: progress)
      }
      for result in results.inOrder { total.append(result) }
    }
    return total
  }

  private func measure(chunk: Int, progress: @Sendable (UInt64) -> Void) throws(QCodecError) -> UpdateError {
    let size = UInt64(TensorLayout.chunkElements)
    let range = UInt64(chunk) * size..<min(elements, (UInt64(chunk) + 1) * size)
    defer { progress((range.upperBound - range.lowerBound) * UInt64(m.elementSize + v.elementSize)) }
    let (m, v) = (try m.values(range, chunk: chunk), try v.values(range, chunk: chunk))
    return UpdateError(epsilon: epsilon, count: m.exact.count) { index in
      (m.exact[index], v.exact[index], m.decoded[index], v.decoded[index])
    }
  }
}

/// One moment: as the original has it and as the file decodes.
private struct Side: Sendable {
  private let dtype: DType
  private let source: any TensorSource
  /// nil for a lossless tensor.
  private let plain: PlainTensor?
  private let second: PlainTensor?

  init(_ reader: CheckpointReader, _ index: Int, source: InputTensor) throws(QCodecError) {
    let info = reader.tensor(index)
    dtype = info.dtype
    self.source = source.source
    plain = info.scheme == nil ? nil : try PlainTensor(reader, index)
    second = try info.reference.map { index throws(QCodecError) in try PlainTensor(reader, index) }
  }

  /// Bytes of an element of the original.
  var elementSize: Int { dtype.bitWidth / 8 }

  func values(_ range: Range<UInt64>, chunk: Int) throws(QCodecError) -> (exact: [Double], decoded: [Double]) {
    let size = elementSize
    let count = Int(range.upperBound - range.lowerBound)
    var bytes = [UInt8](repeating: 0, count: count * size)
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in
      try unsafe source.read(at: range.lowerBound * UInt64(size), into: buffer)
    }
    let original = bytes
    let exact = (0..<count).map { PlainFloat.number(original, $0, dtype: dtype) }
    // A lossless tensor that differed was reported already.
    guard let plain else { return (exact, exact) }
    let own = try plain.chunk(chunk)
    let divisors = try second?.chunk(chunk)
    return (exact, (0..<count).map { own.value($0, divisor: divisors?.divisor($0)) })
  }
}
