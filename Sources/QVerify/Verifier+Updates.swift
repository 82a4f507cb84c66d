import QCheckpoint
import QCodec

extension Verifier {
  /// Measures the update of every pair of moments whose both tensors the original has.
  func measureUpdates(against original: InputDocument, report: inout VerificationReport) throws(QCodecError) {
    let sources = Self.byName(original.tensors)
    var total = UpdateError(epsilon: epsilon)
    for (first, second) in reader.momentPairs() {
      let infos = (first: reader.tensor(first), second: reader.tensor(second))
      guard let m = Self.usable(infos.first, sources), let v = Self.usable(infos.second, sources) else { continue }
      let check = try UpdateCheck(
        reader: reader, first: first, second: second, m: m, v: v, epsilon: epsilon, threads: threads)
      let error = try check.run()
      report.tensors[first].updateError = error
      report.tensors[first].secondMoment = infos.second.name
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
    reader: CheckpointReader, first: Int, second: Int, m: InputTensor, v: InputTensor, epsilon: Double, threads: Int
  ) throws(QCodecError) {
    self.m = try Side(reader, first, source: m)
    self.v = try Side(reader, second, source: v)
    self.epsilon = epsilon
    self.threads = threads
    elements = reader.tensor(first).elementCount
  }

  func run() throws(QCodecError) -> UpdateError {
    var total = UpdateError(epsilon: epsilon)
    let size = UInt64(TensorLayout.chunkElements)
    let count = Int((elements + size - 1) / size)
    let group = 2 * threads
    for start in stride(from: 0, to: count, by: group) {
      let results = ResultSlots<UpdateError>(count: min(group, count - start))
      try parallelFor(count: min(group, count - start), threads: threads) { index throws(QCodecError) in
        results[index] = try measure(chunk: start + index)
      }
      for result in results.inOrder { total.append(result) }
    }
    return total
  }

  private func measure(chunk: Int) throws(QCodecError) -> UpdateError {
    let size = UInt64(TensorLayout.chunkElements)
    let range = UInt64(chunk) * size..<min(elements, (UInt64(chunk) + 1) * size)
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

  func values(_ range: Range<UInt64>, chunk: Int) throws(QCodecError) -> (exact: [Double], decoded: [Double]) {
    let size = dtype.bitWidth / 8
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
