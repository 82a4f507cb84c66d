import QCheckpoint

extension Planner {
  /// Squared errors within so much of the least are as good: what is left to choose then is the largest error.
  private static let tolerance = 0.02

  /// The plan of least error within so many bits, and of those within 2 % of its squared error, no preset being better, the one
  /// whose single updates are least wrong; the smallest plan where none has so few bits.
  func leastError(_ limit: Double, _ rate: (MeasuredCandidate) -> Double) -> Outcome {
    let curves = curves(rate)
    let presets = ["adam8", "adam4"].compactMap { Policy.preset($0) }.compactMap { try? allocation(of: $0) }
    guard var best = curves.leastError(rate: limit, or: presets) else {
      return .missed(Plan(units, curves.front(count: 2)[0]))
    }
    let most = presets.filter { curves.rate($0) <= limit }.map(curves.error).reduce(
      curves.error(best) * (1 + Self.tolerance), min)
    let largest = Plan(units, best).maxUpdateError
    let pairs = units.filter(\.unit.isPair)
    let caps = Set(pairs.flatMap { $0.candidates.map(\.maxUpdateError) }.filter { $0 < largest }).sorted()
    // The lower the cap, the greater the error.
    var (low, high) = (0, caps.count)
    while low < high {
      let middle = (low + high) / 2
      if let found = leastError(limit, rate, cap: caps[middle]), curves.error(found) <= most {
        best = found
        high = middle
      } else {
        low = middle + 1
      }
    }
    return .met(Plan(units, best))
  }

  /// The allocation of least error of ways that have no larger update error than a cap; moments alone, whose errors are in units
  /// of their own, have any.
  private func leastError(_ limit: Double, _ rate: (MeasuredCandidate) -> Double, cap: Double) -> Allocation? {
    let kept = units.map { unit in
      unit.candidates.indices.filter { !unit.unit.isPair || unit.candidates[$0].maxUpdateError <= cap }
    }
    let curves = RateDistortion(
      points: zip(units, kept).map { unit, own in
        own.map { (rate: rate(unit.candidates[$0]), error: unit.candidates[$0].squaredError) }
      })
    // Lossless has no error, so that no unit is without a way.
    guard let found = curves.leastError(rate: limit) else { return nil }
    return Allocation(choice: zip(kept, found.choice).map { $0[$1] })
  }
}
