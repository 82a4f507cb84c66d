import QCheckpoint
import QCodec

/// Finds for every moment of a document the scheme that a budget is best spent on.
///
/// Every way of a catalogue is tried on every unit, or on a sample of its chunks; then one allocation over all units is
/// found (`RateDistortion`).
public struct Planner: Sendable {
  /// How ways are tried.
  public struct Options: Sendable {
    /// ε of the update.
    public var epsilon = 1e-8
    /// The share of chunks that are tried, more than 0, at most 1; at least one chunk of each unit is.
    public var sample = 1.0
    /// The lossless stage whose sizes are measured; `none` measures none.
    public var compression = Compression.none
    /// Threads to use; they do not change the result.
    public var threads = availableThreads()

    /// Everything is tried; no lossless stage.
    public init() {}
  }

  /// What was measured, in the order of the file.
  public let units: [MeasuredUnit]
  /// Whether all chunks were.
  public let isWhole: Bool

  /// Measures a document's moments.
  ///
  /// - Parameter progress: told bytes that have been dealt with, those of the whole document in the end.
  ///
  /// Throws as sources do. O(elements · ways · sample).
  public init(
    _ document: InputDocument, _ options: Options, progress: (UInt64) -> Void = { _ in }
  ) throws(QCodecError) {
    let found = try PlanUnit.units(of: document)
    var (measured, isWhole) = ([MeasuredUnit](), true)
    for unit in found {
      let chunks = Self.chunks(of: unit, sample: options.sample)
      let count = (unit.elements + TensorLayout.chunkElements - 1) / TensorLayout.chunkElements
      isWhole = isWhole && chunks.count == count
      measured.append(try Self.measure(unit, chunks, options))
      progress(unit.tensors.reduce(0) { $0 + $1.source.byteCount })
    }
    units = measured
    self.isWhole = isWhole
  }

  /// Evenly spaced chunks, the first of them among these.
  private static func chunks(of unit: PlanUnit, sample: Double) -> [Int] {
    let count = (unit.elements + TensorLayout.chunkElements - 1) / TensorLayout.chunkElements
    let wanted = max(1, min(count, Int((Double(count) * sample).rounded(.up))))
    return (0..<wanted).map { $0 * count / wanted }
  }

  private static func measure(
    _ unit: PlanUnit, _ chunks: [Int], _ options: Options
  ) throws(QCodecError) -> MeasuredUnit {
    var candidates = PlanCandidate.catalogue(of: unit)
    candidates += try fitted(to: unit, chunks, options)
    let measurer = UnitMeasurer(
      unit: unit, candidates: candidates, epsilon: options.epsilon, compression: options.compression)
    let slots = ResultSlots<[UnitMeasurer.Outcome?]>(count: chunks.count)
    try parallelFor(count: chunks.count, threads: options.threads) { index throws(QCodecError) in
      slots[index] = try measurer.measure(chunk: chunks[index])
    }
    return try MeasuredUnit(unit, candidates, slots.inOrder, chunks, options)
  }

  /// Ways with tables of their own, for pairs: those of float types, and one fitted to the first moment.
  private static func fitted(
    to unit: PlanUnit, _ chunks: [Int], _ options: Options
  ) throws(QCodecError) -> [PlanCandidate] {
    guard unit.isPair, unit.isQuantizable, let chunk = chunks.first else { return [] }
    let measurer = UnitMeasurer(unit: unit, candidates: [], epsilon: options.epsilon, compression: .none)
    let samples = try measurer.samples(chunk: chunk, block: 128)
    var tables = FittedTables.floatTables
    if let own = withCodecEnvironment({ FittedTables.lloydMax(samples) }) { tables.append(own) }
    let seconds = [(8, 512), (4, 256)]
    return tables.flatMap { table in
      seconds.map { bits, block in
        PlanCandidate(
          first: Scheme(
            map: .custom, bits: table.bits, signed: true, scaling: .block(table.bits == 8 ? 256 : 128), domain: .update,
            customTable: table), second: Scheme(map: .log, bits: bits, signed: false, scaling: .block(block)))
      }
    }
  }
}
