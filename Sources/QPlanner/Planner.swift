import QCheckpoint
import QCodec

/// Finds for every moment of a document the scheme that a budget is best spent on.
///
/// Schemes of a catalogue, and tables fitted to each pair, are tried on a sample of every unit; the ways that this speaks for
/// (`Screening`) are measured on all of it, or on a share of its chunks; then one allocation over all units is found
/// (`RateDistortion`).
public struct Planner: Sendable {
  /// How ways are tried.
  public struct Options: Sendable {
    /// ε of the update.
    public var epsilon = 1e-8
    /// The share of chunks that are tried, more than 0, at most 1; at least one chunk of each unit is.
    public var sample = 1.0
    /// The lossless stage whose sizes are measured; `none` measures none.
    public var compression = Compression.none
    /// Whether bounds will be asked for that hold for each tensor or element; without, ways that are best for these alone are
    /// not measured.
    public var boundsEach = true
    /// Threads to use; they do not change the result.
    public var threads = availableThreads()

    /// Everything is tried; no lossless stage.
    public init() {}
  }

  /// What was measured, in the order of the file.
  public let units: [MeasuredUnit]
  /// Whether all chunks were.
  public let isWhole: Bool
  /// Whether bits after the lossless stage are what bounds on errors are kept with the fewest of: where that is zstd.
  let countsStored: Bool

  /// Measures a document's moments.
  ///
  /// - Parameters:
  ///   - document: what is to be encoded.
  ///   - options: what is tried, on how large a sample.
  ///   - progress: told bytes that have been dealt with, those of the whole document in the end.
  ///
  /// Throws as sources do. O(elements · ways · sample).
  public init(
    _ document: InputDocument, _ options: Options, progress: (UInt64) -> Void = { _ in }
  ) throws(QCodecError) {
    countsStored = options.compression == .zstd
    let units = try PlanUnit.units(of: document)
    let chunks = units.map { Self.chunks(of: $0, sample: options.sample) }
    isWhole = zip(units, chunks).allSatisfy { $0.chunkCount == $1.count }
    let sizes = units.map { $0.tensors.reduce(0) { $0 + $1.source.byteCount } }
    var found: [Candidates] = []
    try orderedPipeline(count: units.count, threads: options.threads) { index throws(QCodecError) in
      try Candidates(of: units[index], options)
    } consume: { (next: Candidates) throws(QCodecError) in
      progress(sizes[found.count] / 2)
      found.append(next)
    }
    let candidates = found
    // Chunks of all units in one line, so that many small tensors keep every thread busy as one large one does.
    let tasks = chunks.indices.flatMap { unit in chunks[unit].map { (unit: unit, chunk: $0) } }
    var (measured, outcomes) = ([MeasuredUnit](), [[UnitMeasurer.Outcome?]]())
    try orderedPipeline(count: tasks.count, threads: options.threads) { index throws(QCodecError) in
      let (unit, chunk) = tasks[index]
      let measurer = UnitMeasurer(
        unit: units[unit], candidates: candidates[unit].ways, epsilon: options.epsilon,
        compression: options.compression, least: candidates[unit].least)
      return try measurer.measure(chunk: chunk)
    } consume: { (next: [UnitMeasurer.Outcome?]) throws(QCodecError) in
      let index = measured.count
      outcomes.append(next)
      guard outcomes.count == chunks[index].count else { return }
      measured.append(try MeasuredUnit(units[index], candidates[index].ways, outcomes, chunks[index], options))
      progress(sizes[index] - sizes[index] / 2)
      outcomes = []
    }
    self.units = measured
  }

  /// Evenly spaced chunks, the first of them among these.
  private static func chunks(of unit: PlanUnit, sample: Double) -> [Int] {
    let wanted = max(1, min(unit.chunkCount, Int((Double(unit.chunkCount) * sample).rounded(.up))))
    return (0..<wanted).map { $0 * unit.chunkCount / wanted }
  }

  /// The ways that are measured of a unit.
  private struct Candidates: Sendable {
    let ways: [PlanCandidate]
    /// The least element of the second moment that is not zero, for steps; infinite where none is tried.
    var least = Float.infinity

    init(of unit: PlanUnit, _ options: Options) throws(QCodecError) {
      let own = try PairCandidates(unit: unit, options: options).all()
      // Steps pay where an entropy coder follows.
      guard options.compression == .zstd else {
        ways = own
        return
      }
      let values = try UnitValues(unit)
      ways = own + PlanCandidate.steps(for: unit, values)
      least = values.least
    }
  }
}
