import QCheckpoint
import QCodec
import QVerify

/// Collects what a report shows of a checkpoint, chunk by chunk.
public struct FigureCollector: Sendable {
  let reader: CheckpointReader
  /// The originals of tensors, by the bytes of their names; empty without an original.
  let sources: [[UInt8]: InputTensor]
  let isCompared: Bool
  let epsilon: Double
  let threads: Int
  /// At most so many parameters of the original are held to compare the presets.
  var sampleLimit = 1 << 21
  /// Finds the best that can be had of a state at each size, by size, for the chart of sizes and errors; nil for none.
  ///
  /// It is given the part of the original on which presets are compared. `QPlanner` has such a front; another will do.
  public var front: (@Sendable (InputDocument) throws(QCodecError) -> [TradeOff.Point])?

  /// A collector for an open checkpoint.
  ///
  /// - Parameters:
  ///   - reader: an open checkpoint.
  ///   - original: what the checkpoint was made of; with it errors are measured, not only told as they are recorded.
  ///   - epsilon: ε of the update m/(√v + ε) for which presets are compared.
  ///   - threads: threads to use; they do not change the result.
  public init(
    _ reader: CheckpointReader, original: InputDocument? = nil, epsilon: Double = 1e-8,
    threads: Int = availableThreads()
  ) {
    self.reader = reader
    sources = Dictionary((original?.tensors ?? []).map { (Array($0.name.utf8), $0) }) { _, last in last }
    isCompared = original != nil
    self.epsilon = epsilon
    self.threads = threads
  }

  /// The figures of the file.
  ///
  /// Chunks are read unless the verdict is that they are damaged: then the figures are those of the directory. Throws for
  /// a defect that the verdict does not tell of and for an unreadable original. Memory: the figures, a few chunks, one
  /// scale vector, and with an original a sample of 32 MiB at most and what the presets make of it.
  ///
  /// - Parameters:
  ///   - name: what the file is called on the page.
  ///   - verdict: how verifying it ended.
  ///   - progress: called with the bytes of each tensor once it is done.
  public func figures(
    name: String, verdict: Verdict, progress: (UInt64) -> Void = { _ in }
  ) throws(QCodecError) -> CheckpointFigures {
    try withCodecEnvironment { () throws(QCodecError) in
      let order = reader.tensorsInFileOrder
      var figures = CheckpointFigures(
        name: name, fileBytes: reader.fileBytes, formatVersion: reader.formatVersion, verdict: verdict,
        tensors: order.map { tensor($0, verdict) }, pairs: pairs(in: order, verdict))
      figures.epsilon = figures.updateError?.epsilon
      try takeMetadata(&figures)
      guard case .verified = verdict else { return figures }
      figures.schemes = try schemes(progress: progress)
      if isCompared, !figures.pairs.isEmpty {
        figures.tradeOff = try PresetComparison(self, order: order).run()
      } else {
        figures.tradeOff = figures.ownTradeOff
      }
      return figures
    }
  }

  /// The original of a tensor, where there is one of the same dtype and shape.
  func source(of info: TensorInfo) -> InputTensor? {
    guard let source = sources[Array(info.name.utf8)], source.dtype == info.dtype, source.shape == info.shape else {
      return nil
    }
    return source
  }

  // MARK: The directory

  private func tensor(_ index: Int, _ verdict: Verdict) -> TensorFigures {
    var figures = TensorFigures(reader.tensor(index))
    guard case .verified(let report, _) = verdict else { return figures }
    figures.maxAbsError = report.tensors[index].maxAbsError
    figures.relativeL2Error = report.tensors[index].relativeL2Error
    figures.violations = report.tensors[index].violations
    return figures
  }

  private func pairs(in order: [Int], _ verdict: Verdict) -> [PairFigures] {
    let seconds = Dictionary(reader.momentPairs().map { ($0.first, $0.second) }) { first, _ in first }
    let recorded = Dictionary(reader.measuredPairs.map { ($0.first, $0.error) }) { first, _ in first }
    return order.compactMap { first in
      guard let second = seconds[first] else { return nil }
      let infos = (first: reader.tensor(first), second: reader.tensor(second))
      var error = recorded[first]
      if case .verified(let report, true) = verdict { error = report.tensors[first].updateError }
      return PairFigures(
        first: infos.first.name, second: infos.second.name, parameters: infos.first.elementCount,
        storedBytes: infos.first.storedBytes + infos.second.storedBytes, error: error)
    }
  }

  private func takeMetadata(_ figures: inout CheckpointFigures) throws(QCodecError) {
    let document: JSONValue
    do throws(QCodecError) { document = try reader.metadata() } catch {
      // The verdict tells of it.
      if error.code == .metadataCorrupt, case .damaged = figures.verdict { return }
      throw error
    }
    figures.policy = document["policy"]?["name"]?.stringValue
    figures.metadata = (document["metadata"]?.objectValue ?? [:])
      .map { (key: $0.key, value: $0.value.stringValue ?? $0.value.serialized()) }
      .sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
  }
}

extension CheckpointReader {
  /// Tensors by where their first chunks stand; those without chunks come last, by name.
  var tensorsInFileOrder: [Int] {
    let places = (0..<tensorCount).map { index in
      let chunks = tensor(index).chunks
      return (place: chunks.isEmpty ? Int.max : chunks[0], index: index)
    }
    return places.sorted { ($0.place, $0.index) < ($1.place, $1.index) }.map(\.index)
  }
}

extension CheckpointFigures {
  /// The file's own point, as it is recorded or was measured; nil where it was not.
  var ownTradeOff: TradeOff? {
    guard let bits = bitsPerParameter, let error = updateError else { return nil }
    return TradeOff(points: [
      .init(
        name: "this file", kind: .file, bitsPerParameter: bits, updateError: error.relativeL2Error,
        maxUpdateError: error.maxAbsError)
    ])
  }
}
