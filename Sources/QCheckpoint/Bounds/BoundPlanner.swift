import QCodec

/// Chooses how tensors are stored so that every element keeps a bound at few bytes.
///
/// Candidates are tried on a sample of each tensor, escapes and lossless stage included; a tensor that none makes smaller
/// is stored lossless. What is chosen holds for every element whatever the sample was like, for the writer escapes what
/// does not keep the bound. As cuSZ and SZ3 have it: a quantum as wide as the bound, and values beside it where that fails
/// (Tian et al. 2020, *cuSZ*; Liang et al. 2023, *SZ3*).
public struct BoundPlanner: Sendable {
  /// Tensors of fewer elements are lossless.
  public static let minElements: UInt64 = 4096

  private let request: RequestedBound
  private let options: WriterOptions
  private let nonFinite: NonFinitePolicy
  private let tables = BoundTables()

  /// A planner of tensors to be written with the options; `nonFinite` is for NaN and infinities.
  public init(_ request: RequestedBound, options: WriterOptions, nonFinite: NonFinitePolicy = .error) {
    self.request = request
    self.options = options
    self.nonFinite = nonFinite
  }

  /// The same tensors, those of which the bound can be asked with the schemes that keep it, all others lossless.
  ///
  /// For a bound on updates pairs stay pairs; else each tensor is for itself. `progress` is called on any thread with the
  /// bytes of tensors whose schemes are chosen. Throws `nonFiniteValue` with tensor and element, and what sources throw with
  /// the tensor. O(elements): a pass over each tensor, and a sample of each for each candidate.
  public func bounded(
    _ additions: [Addition], progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(QCodecError) -> [Addition] {
    // Small ones side by side, large ones by all threads each.
    let results = ResultSlots<Result<[Addition], QCodecError>>(count: additions.count)
    let small = additions.indices.filter { additions[$0].byteCount < 8 << 20 }
    let place = { @Sendable (index: Int, threads: Int) -> Void in
      do throws(QCodecError) {
        results[index] = .success(try bounded(additions[index], by: Look(threads: threads, pool: BufferPool())))
        progress(additions[index].byteCount)
      } catch {
        results[index] = .failure(error.named(additions[index].tensors[0].name))
      }
    }
    try parallelFor(count: small.count, threads: options.threads) { place(small[$0], 1) }
    for index in additions.indices where additions[index].byteCount >= 8 << 20 { place(index, options.threads) }
    var all: [Addition] = []
    for result in results.inOrder { all += try result.get() }
    return all
  }

  private func bounded(_ addition: Addition, by look: Look) throws(QCodecError) -> [Addition] {
    switch (addition, request.kind) {
    case (.tensor(let tensor, let shape), .update):
      // Why a moment is in no pair, if it is for its size or dtype.
      if case .lossless = tensor.encoding { return [addition] }
      return [.tensor(tensor.lossless(.none), shape: shape)]
    case (.pair(let first, let second, let shape, _), .update):
      return [try pair(first, second, shape: shape, by: look)]
    default:
      return try addition.tensors.map { tensor throws(QCodecError) in
        .tensor(try single(tensor, shape: addition.shape, by: look), shape: addition.shape)
      }
    }
  }

  /// Why a tensor is lossless whatever it holds; nil if it need not be.
  private func reason(_ tensor: NewTensor, elements: UInt64) -> FallbackReason? {
    if !tensor.dtype.isQuantizable { return .dtype }
    return elements < Self.minElements ? .tooSmall : nil
  }

  /// Throws for, or tells of, a value that cannot be held to any bound.
  private func refuse(_ scan: ValueScan, _ tensor: NewTensor) throws(QCodecError) -> Bool {
    guard let found = scan.firstNonFinite else { return false }
    if nonFinite == .raw { return true }
    throw ValueScan.nonFinite(found, tensor: tensor.name)
  }

  // MARK: One tensor

  private func single(_ tensor: NewTensor, shape: [UInt64], by look: Look) throws(QCodecError) -> NewTensor {
    let elements = try TensorLayout.elementCount(of: shape)
    if let reason = reason(tensor, elements: elements) { return tensor.lossless(reason) }
    let found = try BoundScan.run(tensor, elements: elements, by: look)
    if try refuse(found.scan, tensor) { return tensor.lossless(.nonFinite) }
    guard let bound = elementBound(found, elements) else { return tensor.lossless(.none) }
    let sample = try BoundSample(tensor, elements: elements)
    let candidates = BoundCandidate.all(
      for: bound, signed: found.scan.firstNegative != nil, dtype: tensor.dtype, tables)
    let trial = { @Sendable (candidate: BoundCandidate) throws(QCodecError) -> Int in
      try cost(candidate, bound, sample, tensor, greatest: found.scan.greatestMagnitude)
    }
    let stage = tensor.compression ?? options.compression
    let lossless = try sample.losslessBytes(options, stage)
    guard let best = try cheapest(candidates, below: lossless, by: look, trial) else { return tensor.lossless(.none) }
    var result = tensor
    result.encoding = .quantized(best.scheme)
    (result.scale, result.bound) = (best.scale, .element(bound))
    return result
  }

  /// The bound in units of the tensor; nil where nothing but zero keeps it.
  private func elementBound(_ found: BoundScan, _ elements: UInt64) -> ElementBound? {
    if request.kind == .relative { return .relative(request.value) }
    let value = limit(rms: found.rms(of: elements))
    return value > 0 ? .absolute(value) : nil
  }

  /// The bound in units of one. A reader's root mean square may differ in its last bits.
  private func limit(rms: Double) -> Double {
    withCodecEnvironment { request.isOfRMS ? request.value * rms * (1 - 0x1p-30) : request.value }
  }

  private func cost(
    _ candidate: BoundCandidate, _ bound: ElementBound, _ sample: BoundSample, _ tensor: NewTensor, greatest: Float
  ) throws(QCodecError) -> Int {
    let stage = tensor.compression ?? options.compression
    let encoder = try candidate.encoder(
      dtype: tensor.dtype, shape: sample.shape, name: tensor.name, greatest: greatest)
    let bounded = try BoundedEncoder(encoder, bound: bound)
    let made = try unsafe sample.bytes.withBytes { bytes throws(QCodecError) in
      try unsafe bounded.encode(chunk: 0, source: bytes, measures: false)
    }
    return try tableBytes(candidate) + stage.storedByteCount(made.payload, level: options.zstdLevel)
  }

  /// Bytes of a table before a tensor's chunks.
  private func tableBytes(_ candidate: BoundCandidate) -> Int { 4 * (candidate.scheme.customTable?.entries.count ?? 0) }

  /// The candidate of the fewest bytes, the first among equals; nil if none has fewer than `limit`.
  private func cheapest<Candidate: Sendable>(
    _ candidates: [Candidate], below limit: Int, by look: Look,
    _ cost: @escaping @Sendable (Candidate) throws(QCodecError) -> Int
  ) throws(QCodecError) -> Candidate? {
    let costs = ResultSlots<Int>(count: candidates.count)
    try parallelFor(count: candidates.count, threads: look.threads) { index throws(QCodecError) in
      costs[index] = try cost(candidates[index])
    }
    let best = zip(candidates, costs.inOrder).min { $0.1 < $1.1 }
    return best.flatMap { $0.1 < limit ? $0.0 : nil }
  }

  // MARK: Pairs

  private func pair(
    _ first: NewTensor, _ second: NewTensor, shape: [UInt64], by look: Look
  ) throws(QCodecError) -> Addition {
    func lossless(_ m: FallbackReason = .none, _ v: FallbackReason = .none) -> Addition {
      .pair(first: first.lossless(m), second: second.lossless(v), shape: shape, fallback: nil)
    }
    let elements = try TensorLayout.elementCount(of: shape)
    let reasons = (reason(first, elements: elements), reason(second, elements: elements))
    if reasons.0 != nil || reasons.1 != nil { return lossless(reasons.0 ?? .none, reasons.1 ?? .none) }
    let ofSecond = try BoundScan.run(second, elements: elements, by: look)
    let ofFirst = try BoundScan.run(first, elements: elements, by: look)
    let poisoned = (try refuse(ofFirst.scan, first), try refuse(ofSecond.scan, second))
    if poisoned.0 || poisoned.1 {
      return lossless(poisoned.0 ? .nonFinite : .none, poisoned.1 ? .nonFinite : .none)
    }
    if ofSecond.scan.firstNegative != nil { return lossless(.none, .negative) }
    let updates = try BoundScan.updates(first, second, elements: elements, epsilon: request.epsilon, by: look)
    let rms = updates.rms(of: elements)
    let limit = limit(rms: rms)
    guard limit > 0, limit.isFinite else { return lossless() }
    let samples = (try BoundSample(first, elements: elements), try BoundSample(second, elements: elements))
    let stage = (first.compression ?? options.compression, second.compression ?? options.compression)
    let candidates = BoundPairCandidate.all(
      limit: limit, rms: rms, epsilon: request.epsilon, dtype: first.dtype,
      isEntropyCoded: stage.0 == .zstd && stage.1 == .zstd, tables)
    let greatest = ofSecond.scan.greatestMagnitude
    let trial = { @Sendable (candidate: BoundPairCandidate) throws(QCodecError) -> Int in
      try cost(candidate, samples, (first.name, second.name), stage, greatest: greatest)
    }
    let plain = try samples.0.losslessBytes(options, stage.0) + samples.1.losslessBytes(options, stage.1)
    guard let best = try cheapest(candidates, below: plain, by: look, trial) else { return lossless() }
    var (m, v) = (first, second)
    (m.encoding, v.encoding) = (.quantized(best.first.scheme), .quantized(best.second.scheme))
    (m.scale, m.bound, v.negativeFallsBack) = (best.first.scale, .update(best.bound), false)
    return .pair(first: m, second: v, shape: shape, fallback: nil)
  }

  private func cost(
    _ candidate: BoundPairCandidate, _ samples: (BoundSample, BoundSample), _ names: (String, String),
    _ stage: (Compression, Compression), greatest: Float
  ) throws(QCodecError) -> Int {
    let shape = samples.0.shape
    let encoder = try BoundedPairEncoder(
      first: candidate.first.encoder(dtype: samples.0.dtype, shape: shape, name: names.0, greatest: 0),
      second: candidate.second.encoder(dtype: samples.1.dtype, shape: shape, name: names.1, greatest: greatest),
      bound: candidate.bound)
    let made: BoundedPairEncoder.Chunk
    do throws(QCodecError) {
      made = try unsafe samples.0.bytes.withBytes { m throws(QCodecError) in
        try unsafe samples.1.bytes.withBytes { v throws(QCodecError) in
          try unsafe encoder.encode(chunk: 0, first: m, second: v, measures: false, epsilon: nil)
        }
      }
    } catch {
      // What overflows is no candidate.
      guard error.code == .updateNotFinite else { throw error }
      return .max
    }
    return try tableBytes(candidate.first) + tableBytes(candidate.second)
      + stage.0.storedByteCount(made.first, level: options.zstdLevel)
      + stage.1.storedByteCount(made.second, level: options.zstdLevel)
  }
}

extension NewTensor {
  /// The same tensor, stored as it is.
  fileprivate func lossless(_ reason: FallbackReason) -> NewTensor {
    var result = self
    (result.encoding, result.bound, result.scale) = (.lossless(reason: reason), nil, nil)
    return result
  }
}
