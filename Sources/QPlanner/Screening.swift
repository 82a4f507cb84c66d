import QCheckpoint
import QCodec

/// Tells on a sample of a pair which ways to store it are worth a measurement of all of it.
///
/// What storing a first moment adds to the squared error of the update hardly depends on how the second moment is stored, and
/// the other way round: in the update domain m̂/√v̂ is û whatever v̂ is, and û's error goes its own way beside that of √v̂. So
/// one trial of each scheme tells of every pair of schemes, where trying them all would take the product.
struct Screening {
  let unit: PlanUnit
  /// Schemes of the first moment.
  let firsts: [Scheme]
  /// Schemes of the second moment.
  let seconds: [Scheme]
  let options: Planner.Options

  /// What is expected of a moment under a scheme, or of a pair: bits of the whole unit, errors of the sample.
  struct Expected {
    var bits = 0.0
    var storedBits = 0.0
    var squaredError = 0.0
    var relativeL2 = 0.0
    var maxAbsError = 0.0
  }

  /// A pair of schemes, by their places, with what is expected of it.
  struct Point {
    let first: Int
    let second: Int
    let expected: Expected
  }

  /// The ways that are worth it: those near the lower convex hull of bits and update errors, and, where bounds are to hold
  /// for each tensor, those than which none has both fewer bits and smaller errors of tensors.
  ///
  /// O(elements · (firsts + seconds) + firsts · seconds · log).
  func chosen(_ moments: ChunkMoments) throws(QCodecError) -> [PlanCandidate] {
    let points = try points(moments)
    var kept = Self.nearHull(points, unit.elements, \.bits)
    if options.compression != .none { kept.formUnion(Self.nearHull(points, unit.elements, \.storedBits)) }
    if options.boundsEach {
      kept.formUnion(Self.undominated(points, \.relativeL2))
      kept.formUnion(Self.undominated(points, \.maxAbsError))
    }
    return kept.sorted().map {
      PlanCandidate(first: firsts[points[$0].first], second: seconds[points[$0].second])
    }
  }

  // MARK: What is expected

  private func points(_ moments: ChunkMoments) throws(QCodecError) -> [Point] {
    let bits = try seconds.map { scheme throws(QCodecError) in try unit.bits(ofSecond: scheme) }
    // First moments stand beside the second moment that is stored best.
    guard let best = bits.indices.max(by: { bits[$0] < bits[$1] }),
      let common = try expected(PlanCandidate(second: seconds[best]), moments)
    else { return [] }
    let own = try seconds.map { scheme throws(QCodecError) in try expected(PlanCandidate(second: scheme), moments) }
    var points: [Point] = []
    for (first, scheme) in firsts.enumerated() {
      guard let one = try expected(PlanCandidate(first: scheme, second: seconds[best]), moments) else { continue }
      for (second, other) in own.enumerated() {
        guard let other else { continue }
        points.append(Point(first: first, second: second, expected: one.with(other, for: common)))
      }
    }
    return points
  }

  private func expected(_ way: PlanCandidate, _ moments: ChunkMoments) throws(QCodecError) -> Expected? {
    let trial = Trial(unit, way, epsilon: options.epsilon, options.compression)
    guard let outcome = try trial.outcome(moments), let update = outcome.update else { return nil }
    var expected = Expected()
    expected.bits = Double(try way.bits(of: unit))
    expected.storedBits = 8 * Double(outcome.storedBytes) * Double(unit.elements) / Double(moments.count)
    expected.squaredError = update.squaredError
    expected.relativeL2 = max(outcome.first?.relativeL2Error ?? 0, outcome.second?.relativeL2Error ?? 0)
    expected.maxAbsError = max(outcome.first?.maxAbsError ?? 0, outcome.second?.maxAbsError ?? 0)
    return expected.squaredError.isFinite ? expected : nil
  }
}

extension Screening.Expected {
  /// A first moment beside another second moment than the one that it was tried with.
  fileprivate func with(_ second: Self, for common: Self) -> Self {
    var pair = Self()
    pair.bits = bits + second.bits - common.bits
    pair.storedBits = storedBits + second.storedBits - common.storedBits
    // The second moment's own part is in both.
    pair.squaredError = max(squaredError + second.squaredError - common.squaredError, 0)
    pair.relativeL2 = max(relativeL2, second.relativeL2)
    pair.maxAbsError = max(maxAbsError, second.maxAbsError)
    return pair
  }
}
