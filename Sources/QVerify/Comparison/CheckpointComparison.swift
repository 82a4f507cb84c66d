import QCheckpoint
import QCodec

/// Compares the tensors of two documents of any kinds, quantized ones by their decoded values.
///
/// Both sides are read chunk by chunk, so that memory is that of a few chunks a thread and of a scale vector on either
/// side, whatever the files' sizes. Time is linear in the elements of both; tensors of moments that differ are read twice.
public struct CheckpointComparison: Sendable {
  /// Distances within which values may differ.
  public struct Limits: Sendable {
    /// The largest √(Σ (a − b)² / Σ a²) that a tensor may have; nil for any.
    public var maxRelativeL2: Double?
    /// The largest |a − b| that an element may have, in units of the tensor; nil for any.
    public var maxAbsolute: Double?

    /// Creates limits; nil asks for nothing.
    public init(maxRelativeL2: Double? = nil, maxAbsolute: Double? = nil) {
      self.maxRelativeL2 = maxRelativeL2
      self.maxAbsolute = maxAbsolute
    }
  }

  let a: InputDocument
  let b: InputDocument
  let limits: Limits?
  /// ε of the update.
  let epsilon: Double
  let threads: Int

  /// A comparison of two open documents; relative distances are relative to `a`.
  ///
  /// - Parameters:
  ///   - limits: what values may differ by; nil to ask for equal bits.
  ///   - epsilon: ε of the update m/(√v + ε).
  public init(
    _ a: InputDocument, _ b: InputDocument, limits: Limits? = nil, epsilon: Double = 1e-8,
    threads: Int = availableThreads()
  ) {
    (self.a, self.b, self.limits) = (a, b, limits)
    (self.epsilon, self.threads) = (epsilon, threads)
  }

  /// Compares all tensors, then the updates of the moments that are partners on both sides, then metadata.
  ///
  /// - Parameter progress: called with the bytes of both sides that were compared since the last call, `workBytes` in all.
  ///
  /// Throws what reading either side throws, and `duplicateName`; what the report holds is no error.
  public func compare(progress: (UInt64) -> Void = { _ in }) throws(QCodecError) -> ComparisonReport {
    try withCodecEnvironment { () throws(QCodecError) in
      var report = ComparisonReport(limits: limits, update: UpdateError(epsilon: epsilon))
      for (one, other) in Self.joined(try a.tensorsByName(), try b.tensorsByName()) {
        let tensor = try compare(one, other, progress: progress)
        if let distance = tensor.distance { report.distance.append(distance) }
        report.tensors.append(tensor)
      }
      try measureUpdates(&report, progress: progress)
      try compareMetadata(&report)
      return report
    }
  }

  /// The bytes that `compare(progress:)` goes through: of all tensors, and of pairs of moments once more.
  public var workBytes: UInt64 {
    let tensors = (a.tensors + b.tensors).reduce(0) { $0 + $1.source.byteCount }
    return commonPairs().reduce(tensors) { $0 + $1.byteCount }
  }

  /// The tensors of both sides by their names, which are in order.
  private static func joined(_ a: [InputTensor], _ b: [InputTensor]) -> [(InputTensor?, InputTensor?)] {
    var result: [(InputTensor?, InputTensor?)] = []
    var (ours, theirs) = (a[...], b[...])
    while let one = ours.first, let other = theirs.first {
      // By bytes: names that differ only in Unicode normalisation are names of different tensors.
      let isFirst = one.name.utf8.lexicographicallyPrecedes(other.name.utf8)
      let isSame = !isFirst && one.name.utf8.elementsEqual(other.name.utf8)
      if isFirst || isSame { ours.removeFirst() }
      if !isFirst { theirs.removeFirst() }
      result.append((isFirst || isSame ? one : nil, isFirst ? nil : other))
    }
    return result + ours.map { ($0, nil) } + theirs.map { (nil, $0) }
  }

  // MARK: One tensor

  private func compare(
    _ one: InputTensor?, _ other: InputTensor?, progress: (UInt64) -> Void
  ) throws(QCodecError) -> ComparisonReport.Tensor {
    var rest = (one?.source.byteCount ?? 0) + (other?.source.byteCount ?? 0)
    // What is not read is done with, too.
    defer { progress(rest) }
    let forms = (a: one.map { Self.form($0, in: a) }, b: other.map { Self.form($0, in: b) })
    var schemesDiffer: Bool?
    if let own = forms.a, let theirs = forms.b, a.checkpoint != nil, b.checkpoint != nil {
      schemesDiffer = own.scheme != theirs.scheme
    }
    var result = ComparisonReport.Tensor(
      name: one?.name ?? other?.name ?? "", change: .removed, a: forms.a, b: forms.b, schemesDiffer: schemesDiffer)
    guard let one, let other else {
      result.change = one == nil ? .added : .removed
      return result
    }
    let comparison = TensorComparison(one, other, threads: threads)
    let found = try comparison?.run { bytes in
      rest -= bytes
      progress(bytes)
    }
    if let found { (result.differing, result.distance) = (found.differing, found.distance) }
    result.change =
      one.shape != other.shape
      ? .reshaped : one.dtype != other.dtype ? .retyped : result.differing == 0 ? .equal : .changed
    return result
  }

  private static func form(_ tensor: InputTensor, in document: InputDocument) -> ComparisonReport.Form {
    let stored = document.checkpoint.flatMap { reader in reader.find(tensor.name).map { reader.tensor($0) } }
    return ComparisonReport.Form(dtype: tensor.dtype, shape: tensor.shape, scheme: stored?.scheme)
  }
}
