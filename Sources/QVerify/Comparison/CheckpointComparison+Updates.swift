import QCheckpoint
import QCodec

extension CheckpointComparison {
  private typealias Moments = (first: InputTensor, second: InputTensor)

  /// A pair of moments that both sides have, of one shape, by the places of its tensors in the report.
  private struct Pair {
    let first: Int
    let second: Int
    let ours: Moments
    let theirs: Moments
  }

  /// Measures the updates of every pair of moments that both sides have as a pair.
  func measureUpdates(_ report: inout ComparisonReport) throws(QCodecError) {
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
      } else {
        distance = try measure(pair, isEqual: isEqual(pair))
      }
      report.tensors[pair.first].update = distance
      report.tensors[pair.first].secondMoment = pair.ours.second.name
      report.update.append(distance)
    }
    report.pairs = pairs.count
  }

  /// In the order of the first moments' names, for sums depend on it.
  private func pairs(in report: ComparisonReport) -> [Pair] {
    let (own, other) = (Self.moments(of: a), Self.moments(of: b))
    if own.isEmpty || other.isEmpty { return [] }
    let places = Dictionary(report.tensors.enumerated().map { (Array($1.name.utf8), $0) }) { first, _ in first }
    return report.tensors.enumerated().compactMap { index, tensor in
      let name = Array(tensor.name.utf8)
      guard let ours = own[name], let theirs = other[name],
        ours.second.name.utf8.elementsEqual(theirs.second.name.utf8),
        let second = places[Array(ours.second.name.utf8)], Self.areComparable(ours, theirs)
      else { return nil }
      return Pair(first: index, second: second, ours: ours, theirs: theirs)
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

  private func measure(_ pair: Pair, isEqual: Bool) throws(QCodecError) -> UpdateError {
    let own = (m: ComparedTensor(pair.ours.first), v: ComparedTensor(pair.ours.second))
    let other = (m: ComparedTensor(pair.theirs.first), v: ComparedTensor(pair.theirs.second))
    let epsilon = epsilon
    var total = UpdateError(epsilon: epsilon)
    try orderedPipeline(count: own.m.chunkCount, threads: threads) { chunk throws(QCodecError) in
      let (m, v) = (try own.m.values(ofChunk: chunk), try own.v.values(ofChunk: chunk))
      // Equal moments are read once.
      let (m̂, v̂) = isEqual ? (m, v) : (try other.m.values(ofChunk: chunk), try other.v.values(ofChunk: chunk))
      return UpdateError(epsilon: epsilon, count: m.count) { (m[$0], v[$0], m̂[$0], v̂[$0]) }
    } consume: { (next: UpdateError) in
      total.append(next)
    }
    guard isEqual else { return total }
    // Equal bits are no distance, whatever comes of dividing by the root of a negative second moment.
    var result = UpdateError(epsilon: epsilon)
    if total.squaredUpdate.isFinite { result.squaredUpdate = total.squaredUpdate }
    return result
  }
}
