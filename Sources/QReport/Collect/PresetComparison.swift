import QCheckpoint
import QCodec
import QVerify

/// What the presets would make of the original, and what the file made of the same part of it.
struct PresetComparison {
  private let collector: FigureCollector
  private let sample: PairSample

  /// Reads the sample; `order` has the tensors as they stand in the file.
  init(_ collector: FigureCollector, order: [Int]) throws(QCodecError) {
    self.collector = collector
    sample = try PairSample(collector, order: order)
  }

  /// The points, the file's first; nil where the original has no pair of the file's.
  func run() throws(QCodecError) -> TradeOff? {
    guard !sample.parts.isEmpty else { return nil }
    var points = [try own()]
    for name in ["adam8", "adam4", "paper8", "paper4"] {
      guard let policy = Policy.preset(name) else { preconditionFailure("\(name) is a preset") }
      if let point = try Self.point(name, policy, sample.document, collector) { points.append(point) }
    }
    return TradeOff(
      points: points, front: try collector.front?(sample.document) ?? [],
      sample: sample.size.isWhole ? nil : sample.size)
  }

  private func own() throws(QCodecError) -> TradeOff.Point {
    var total = UpdateError(epsilon: collector.epsilon)
    var bits = 0.0
    for part in sample.parts {
      total.append(try part.updateError(epsilon: collector.epsilon))
      bits += part.bitsPerParameter * Double(part.parameters)
    }
    return TradeOff.Point(
      name: "this file", kind: .file, bitsPerParameter: bits / Double(sample.size.parameters),
      updateError: total.relativeL2Error, maxUpdateError: total.maxAbsError)
  }

  /// Encodes the sample in memory and measures it; nil where the original has what no file can hold.
  private static func point(
    _ name: String, _ policy: Policy, _ document: InputDocument, _ collector: FigureCollector
  ) throws(QCodecError) -> TradeOff.Point? {
    let reader = try encoded(document, policy, threads: collector.threads)
    let report = try Verifier(reader, epsilon: collector.epsilon, threads: collector.threads).verify(against: document)
    guard let error = report.updateError, report.pairs > 0 else { return nil }
    let pairs = reader.momentPairs()
    let stored = pairs.reduce(0) { $0 + reader.tensor($1.first).storedBytes + reader.tensor($1.second).storedBytes }
    let parameters = pairs.reduce(0) { $0 + reader.tensor($1.first).elementCount }
    return TradeOff.Point(
      name: name, kind: .preset, bitsPerParameter: Double(stored) * 8 / Double(parameters),
      updateError: error.relativeL2Error, maxUpdateError: error.maxAbsError)
  }

  private static func encoded(
    _ document: InputDocument, _ policy: Policy, threads: Int
  ) throws(QCodecError) -> CheckpointReader {
    let tensors = document.tensors
    let plan = try policy.plan(
      tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape, role: $0.role) })
    let stored = zip(tensors, plan).map { tensor, planned in
      guard case .encode(let own) = planned.decision else { preconditionFailure("presets drop nothing") }
      return NewTensor(
        name: tensor.name, dtype: tensor.dtype, role: planned.role, encoding: own.encoding,
        negativeFallsBack: own.negativeFallsBack, compression: own.compression, step: own.step,
        source: tensor.source)
    }
    let partners = Set(plan.compactMap(\.partner))
    let additions: [Addition] = plan.enumerated().compactMap { index, planned in
      guard case .encode(let own) = planned.decision, !partners.contains(index) else { return nil }
      guard let partner = planned.partner else { return .tensor(stored[index], shape: tensors[index].shape) }
      return .pair(
        first: stored[index], second: stored[partner], shape: tensors[index].shape, fallback: own.fallback)
    }
    var bytes: [UInt8] = []
    let writer = try unsafe CheckpointWriter(
      writing: { part throws(QCodecError) in unsafe bytes.append(contentsOf: part) },
      options: WriterOptions(threads: threads))
    try writer.add(additions, nonFinite: .raw)
    _ = try writer.finish()
    return try CheckpointReader(source: MemorySource(bytes: bytes))
  }
}
