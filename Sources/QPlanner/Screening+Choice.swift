extension Screening {
  /// Within how many bits a parameter one way beside the hull's corners is kept.
  private static let step = 0.25

  /// The corners of the lower convex hull, which one price for all units asks for, and of each quarter of a bit a parameter
  /// the way that is nearest above it: a sample is not the whole, and what a budget leaves over is spent on these.
  static func nearHull(_ points: [Point], _ elements: Int, _ rate: KeyPath<Expected, Double>) -> Set<Int> {
    let hull = RateDistortion.hull(
      points.map { (rate: $0.expected[keyPath: rate], error: $0.expected.squaredError) })
    var nearest: [Int: (index: Int, ratio: Double)] = [:]
    var corner = 0
    for index in points.indices.sorted(by: { points[$0].expected[keyPath: rate] < points[$1].expected[keyPath: rate] })
    {
      let own = points[index].expected
      while corner + 1 < hull.count, points[hull[corner + 1]].expected[keyPath: rate] <= own[keyPath: rate] {
        corner += 1
      }
      // What costs more than the most exact way is worth nothing.
      guard corner + 1 < hull.count else { break }
      let (from, to) = (points[hull[corner]].expected, points[hull[corner + 1]].expected)
      let share = (own[keyPath: rate] - from[keyPath: rate]) / (to[keyPath: rate] - from[keyPath: rate])
      let ratio = own.squaredError / (from.squaredError + share * (to.squaredError - from.squaredError))
      let bin = Int(own[keyPath: rate] / Double(elements) / step)
      if ratio < nearest[bin]?.ratio ?? .infinity { nearest[bin] = (index, ratio) }
    }
    return Set(hull).union(nearest.values.map(\.index))
  }

  /// The points than which none has both fewer bits and a smaller error.
  static func undominated(_ points: [Point], _ error: KeyPath<Expected, Double>) -> Set<Int> {
    let order = points.indices.sorted { one, other in
      let (own, next) = (points[one].expected, points[other].expected)
      return (own.bits, own[keyPath: error], one) < (next.bits, next[keyPath: error], other)
    }
    var least = Double.infinity
    var kept = Set<Int>()
    for index in order where points[index].expected[keyPath: error] < least {
      least = points[index].expected[keyPath: error]
      kept.insert(index)
    }
    return kept
  }
}
