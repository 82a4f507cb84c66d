import QCheckpoint
import QCodec

/// Tries ways to store a unit on chunks of it.
struct UnitMeasurer: Sendable {
  let unit: PlanUnit
  let candidates: [PlanCandidate]
  let epsilon: Double
  let compression: Compression
  /// The least element of the whole second moment that is not zero.
  var least = Float.infinity

  /// What a way does to a chunk; nil where it cannot be had.
  struct Outcome: Sendable {
    var first: TensorStatistics?
    var second: TensorStatistics?
    var update: UpdateError?
    /// Bytes after the lossless stage.
    var storedBytes = 0
  }

  /// A chunk under every way.
  func measure(chunk: Int) throws(QCodecError) -> [Outcome?] {
    let start = chunk * TensorLayout.chunkElements
    let moments = try unit.moments([start..<min(unit.elements, start + TensorLayout.chunkElements)])
    var results: [Outcome?] = []
    results.reserveCapacity(candidates.count)
    for candidate in candidates {
      results.append(try Trial(unit, candidate, epsilon: epsilon, compression, least: least).outcome(moments))
    }
    return results
  }
}
