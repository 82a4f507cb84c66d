import QCheckpoint
import QCodec

extension CheckpointComparison {
  typealias Moments = (first: InputTensor, second: InputTensor)

  /// A pair of moments that both sides have, of one shape.
  struct CommonPair {
    let ours: Moments
    let theirs: Moments

    /// Of all four.
    var byteCount: UInt64 {
      [ours.first, ours.second, theirs.first, theirs.second].reduce(0) { $0 + $1.source.byteCount }
    }
  }

  /// One of them by the places of its tensors in the report.
  private struct Pair {
    let first: Int
    let second: Int
    let moments: CommonPair
  }

  /// Measures the updates of every pair of moments that both sides have as a pair.
  func measureUpdates(_ report: inout ComparisonReport, progress: (UInt64) -> Void) throws(QCodecError) {
    let pairs = pairs(in: report)
    func isEqual(_ pair: Pair) -> Bool {
      report.tensors[pair.first].differing == 0 && report.tensors[pair.second].differing == 0
    }
    let areAllEqual = pairs.allSatisfy(isEqual)
    for pair in pairs {
      let distance: UpdateError
      if areAllEqual {
        // Nothing to measure, and nothing to measure it against.
        distance = UpdateError(epsilon: epsilon)
        progress(pair.moments.byteCount)
      } else {
        distance = try measure(pair.moments, isEqual: isEqual(pair), progress: progress)
      }
      report.tensors[pair.first].update = distance
      report.tensors[pair.first].secondMoment = pair.moments.ours.second.name
      report.update.append(distance)
    }
    report.pairs = pairs.count
  }

  /// In the order of the first moments' names, for sums depend on it.
  private func pairs(in report: ComparisonReport) -> [Pair] {
    let places = Dictionary(report.tensors.enumerated().map { (Array($1.name.utf8), $0) }) { first, _ in first }
    return commonPairs().compactMap { pair in
      guard let first = places[Array(pair.ours.first.name.utf8)], let second = places[Array(pair.ours.second.name.utf8)]
      else { return nil }
      return Pair(first: first, second: second, moments: pair)
    }.sorted { $0.first < $1.first }
  }

  /// The pairs of moments that both sides have as pairs of one shape, in any order.
  func commonPairs() -> [CommonPair] {
    let (own, other) = (Self.moments(of: a), Self.moments(of: b))
    return own.compactMap { name, ours in
      guard let theirs = other[name], ours.second.name.utf8.elementsEqual(theirs.second.name.utf8),
        Self.areComparable(ours, theirs)
      else { return nil }
      return CommonPair(ours: ours, theirs: theirs)
    }
  }

  private static func moments(of document: InputDocument) -> [[UInt8]: Moments] {
    let pairs = document.momentPairs().map { pair in
      (Array(document.tensors[pair.first].name.utf8), (document.tensors[pair.first], document.tensors[pair.second]))
    }
    return Dictionary(pairs) { first, _ in first }
  }

  private static func areComparable(_ ours: Moments, _ theirs: Moments) -> Bool {
    [ours.first, ours.second, theirs.first, theirs.second].allSatisfy {
      $0.dtype.hasDistance && $0.shape == ours.first.shape
    }
  }

  // MARK: One pair

  private func measure(
    _ pair: CommonPair, isEqual: Bool, progress: (UInt64) -> Void
  ) throws(QCodecError) -> UpdateError {
    let own = (m: ComparedTensor(pair.ours.first), v: ComparedTensor(pair.ours.second))
    let other = (m: ComparedTensor(pair.theirs.first), v: ComparedTensor(pair.theirs.second))
    let epsilon = epsilon
    var (total, rest) = (UpdateError(epsilon: epsilon), pair.byteCount)
    defer { progress(rest) }
    let chunkBytes = rest / UInt64(max(1, own.m.chunkCount))
    try orderedPipeline(count: own.m.chunkCount, threads: threads) { chunk throws(QCodecError) in
      let (m, v) = (try own.m.values(ofChunk: chunk), try own.v.values(ofChunk: chunk))
      // Equal moments are read once.
      let (m̂, v̂) = isEqual ? (m, v) : (try other.m.values(ofChunk: chunk), try other.v.values(ofChunk: chunk))
      return UpdateError(epsilon: epsilon, count: m.count) { (m[$0], v[$0], m̂[$0], v̂[$0]) }
    } consume: { (next: UpdateError) in
      total.append(next)
      rest -= chunkBytes
      progress(chunkBytes)
    }
    guard isEqual else { return total }
    // Equal bits are no distance, whatever comes of dividing by the root of a negative second moment.
    var result = UpdateError(epsilon: epsilon)
    if total.squaredUpdate.isFinite { result.squaredUpdate = total.squaredUpdate }
    return result
  }
}
