import QCheckpoint
import QCodec

/// Verifies checkpoints with plain code of its own, element by element, against their own records or an original.
public struct Verifier: Sendable {
  /// Errors that are not to be exceeded by any tensor, besides the proved bounds.
  public struct Limits: Sendable {
    /// The largest √(Σ (x − x̂)² / Σ x²) that a tensor may have; nil for any.
    public var maxRelativeL2: Double?
    /// The largest |x − x̂| that an element may have; nil for any.
    public var maxAbsolute: Double?

    /// The relative L2 error of the update of all pairs together.
    public var maxUpdateError: Double?
    /// The error of any single update.
    public var maxUpdateAbsolute: Double?

    /// Creates limits; nil asks for nothing.
    public init(
      maxRelativeL2: Double? = nil, maxAbsolute: Double? = nil, maxUpdateError: Double? = nil,
      maxUpdateAbsolute: Double? = nil
    ) {
      self.maxRelativeL2 = maxRelativeL2
      self.maxAbsolute = maxAbsolute
      self.maxUpdateError = maxUpdateError
      self.maxUpdateAbsolute = maxUpdateAbsolute
    }
  }

  let reader: CheckpointReader
  let limits: Limits
  let threads: Int
  /// ε of the update.
  let epsilon: Double

  /// A verifier of an open checkpoint.
  ///
  /// - Parameter epsilon: ε of the update m/(√v + ε) whose error is measured against an original.
  public init(
    _ reader: CheckpointReader, limits: Limits = Limits(), epsilon: Double = 1e-8, threads: Int = availableThreads()
  ) {
    self.epsilon = epsilon
    self.reader = reader
    self.limits = limits
    self.threads = threads
  }

  /// Verifies every byte and every tensor.
  ///
  /// Every byte is read and checked first. Each tensor's guarantee is recomputed from codes and scales and must not
  /// exceed the record. With an original, each element is held against its own bound, lossless tensors bit for bit;
  /// a tensor missing on either side, unless the stored policy dropped it, or of another dtype or shape is a violation.
  /// Memory: a few chunks and one scale vector. Throws for a defective file or an unreadable original; what the report
  /// holds is no error.
  ///
  /// - Parameter progress: called with the bytes of work done since the last call, `workBytes(against:)` in all, from any
  ///   thread.
  public func verify(
    against original: InputDocument? = nil, progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(QCodecError) -> VerificationReport {
    try reader.checkAllBytes(threads: threads, progress: progress)
    return try withCodecEnvironment { () throws(QCodecError) in
      var report = VerificationReport()
      var sources = Self.byName(original?.tensors ?? [])
      for index in 0..<reader.tensorCount {
        let info = reader.tensor(index)
        let source = sources.removeValue(forKey: Array(info.name.utf8))
        try verify(index, info, source: source, isCompared: original != nil, report: &report, progress: progress)
      }
      if let original {
        try reportMissing(Set(sources.keys), in: original, report: &report)
        try measureUpdates(against: original, report: &report, progress: progress)
      }
      return report
    }
  }

  /// The bytes that `verify(against:progress:)` goes through: of the file, of its tensors as decoded and, with an original,
  /// of the pairs of moments whose update is measured.
  public func workBytes(against original: InputDocument? = nil) -> UInt64 {
    let tensors = (0..<reader.tensorCount).reduce(reader.fileBytes) { $0 + reader.tensor($1).sourceBytes }
    guard let original else { return tensors }
    return measurablePairs(in: original).reduce(tensors) { $0 + $1.sourceBytes }
  }

  /// Tensors by the bytes of their names: those that differ only in Unicode normalisation are different tensors.
  static func byName(_ tensors: [InputTensor]) -> [[UInt8]: InputTensor] {
    Dictionary(tensors.map { (Array($0.name.utf8), $0) }) { _, last in last }
  }

  // MARK: One tensor

  private func verify(
    _ index: Int, _ info: TensorInfo, source: InputTensor?, isCompared: Bool, report: inout VerificationReport,
    progress: @escaping @Sendable (UInt64) -> Void
  ) throws(QCodecError) {
    var tensor = VerificationReport.Tensor(
      name: info.name, maxAbsError: info.statistics.maxAbsError,
      relativeL2Error: info.statistics.relativeL2Error, violations: 0,
      guaranteedMaxAbsError: info.guaranteedMaxAbsError, recomputedGuarantee: info.scheme == nil ? 0 : nil)
    let before = report.violations
    let usable = isCompared ? Self.comparable(info, source, report: &report) : nil
    let check = TensorCheck(
      reader: reader, index: index, info: info, source: usable, threads: threads, progress: progress)
    let measured = try check.run()
    tensor.recomputedGuarantee = measured.guarantee?.absolute
    tensor.guaranteedMaxRelError = info.guaranteedMaxRelError
    if info.guaranteedMaxRelError != nil { tensor.recomputedRelGuarantee = measured.guarantee?.relative }
    if usable != nil {
      tensor.maxAbsError = measured.maxAbsError
      tensor.relativeL2Error = measured.relativeL2Error
    }
    if let first = measured.firstViolation { report.add(first, count: measured.violations) }
    let guarantees = [
      (info.guaranteedMaxAbsError, tensor.recomputedGuarantee, "guarantee"),
      (info.guaranteedMaxRelError, tensor.recomputedRelGuarantee, "relative guarantee"),
    ]
    for case (let recorded?, let recomputed?, let name) in guarantees where recorded < recomputed {
      report.add(
        .init(
          tensor: info.name, index: nil, expected: nil, got: recorded, bound: recomputed,
          reason: "the recorded \(name) is smaller than what codes and scales admit"))
    }
    checkLimits(tensor, report: &report)
    tensor.violations = report.violations - before
    report.tensors.append(tensor)
  }

  private static func comparable(
    _ info: TensorInfo, _ source: InputTensor?, report: inout VerificationReport
  ) -> InputTensor? {
    func violation(_ reason: String) -> VerificationReport.Violation {
      .init(tensor: info.name, index: nil, expected: nil, got: nil, bound: nil, reason: reason)
    }
    guard let source else {
      report.add(violation("the original has no such tensor"))
      return nil
    }
    guard source.dtype == info.dtype, source.shape == info.shape else {
      report.add(
        violation(
          "the original is \(source.dtype.name) \(source.shape), the checkpoint \(info.dtype.name) \(info.shape)"))
      return nil
    }
    return source
  }

  private func checkLimits(_ tensor: VerificationReport.Tensor, report: inout VerificationReport) {
    // NaN exceeds every limit.
    if let limit = limits.maxRelativeL2, !(tensor.relativeL2Error <= limit) {
      report.add(
        .init(
          tensor: tensor.name, index: nil, expected: nil, got: tensor.relativeL2Error, bound: limit,
          reason: "the relative L2 error is above the limit"))
    }
    if let limit = limits.maxAbsolute, !(tensor.maxAbsError <= limit) {
      report.add(
        .init(
          tensor: tensor.name, index: nil, expected: nil, got: tensor.maxAbsError, bound: limit,
          reason: "the largest error is above the limit"))
    }
  }

  // MARK: Missing tensors

  private func reportMissing(
    _ names: Set<[UInt8]>, in original: InputDocument, report: inout VerificationReport
  ) throws(QCodecError) {
    guard !names.isEmpty else { return }
    let policy = try reader.metadata()["policy"].map { document throws(QCodecError) in try Policy(json: document) }
    let plan = try policy?.plan(
      original.tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape, role: $0.role) })
    for (index, tensor) in original.tensors.enumerated() where names.contains(Array(tensor.name.utf8)) {
      if case .drop? = plan?[index].decision { continue }
      report.add(
        .init(
          tensor: tensor.name, index: nil, expected: nil, got: nil, bound: nil,
          reason: "the checkpoint has no such tensor"))
    }
  }
}
