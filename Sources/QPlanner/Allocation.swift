/// A choice of one way a unit, by its place among the unit's candidates.
struct Allocation: Sendable {
  var choice: [Int]
}

/// Chooses a way for each unit where costs and errors add up over units.
///
/// Each unit has a rate-distortion curve; with a price λ on a bit, every unit by itself takes the way of least D + λR, which
/// is a corner of its lower convex hull, and one λ for all gives a best allocation for the bits that it comes to. Walking the
/// corners in order of slope visits all of these; what a budget leaves over is then spent on single steps that still fit.
/// LQ-LoRA (arXiv:2311.12023) states the same problem as an integer program; that squared errors of layers may be added
/// up at all is HIGGS' linearity result (arXiv:2411.17525). O(candidates · log candidates).
struct RateDistortion: Sendable {
  /// Bits and squared error of each way of each unit.
  let points: [[(rate: Double, error: Double)]]

  private struct Corner {
    let unit: Int
    let choice: Int
    let slope: Double
  }

  /// The cheapest allocation, and the corners that lead from it to the most exact one, the steepest first.
  private func walk() -> (start: Allocation, corners: [Corner]) {
    var corners: [Corner] = []
    var start: [Int] = []
    for (unit, own) in points.enumerated() {
      let hull = Self.hull(own)
      start.append(hull[0])
      for (from, to) in zip(hull, hull.dropFirst()) {
        let slope = (own[from].error - own[to].error) / (own[to].rate - own[from].rate)
        corners.append(Corner(unit: unit, choice: to, slope: slope))
      }
    }
    // Within a unit slopes fall, so that its corners keep their order.
    corners.sort { ($0.slope, $1.unit, $1.choice) > ($1.slope, $0.unit, $0.choice) }
    return (Allocation(choice: start), corners)
  }

  /// The lower convex hull, from the lowest rate to the lowest error.
  static func hull(_ points: [(rate: Double, error: Double)]) -> [Int] {
    let order = points.indices.sorted { (points[$0].rate, points[$0].error) < (points[$1].rate, points[$1].error) }
    var hull: [Int] = []
    for index in order {
      if let last = hull.last, points[index].error >= points[last].error { continue }
      while hull.count > 1 {
        let (a, b) = (points[hull[hull.count - 2]], points[hull[hull.count - 1]])
        let before = (a.error - b.error) * (points[index].rate - b.rate)
        let after = (b.error - points[index].error) * (b.rate - a.rate)
        guard before <= after else { break }
        hull.removeLast()
      }
      hull.append(index)
    }
    return hull
  }

  func rate(_ allocation: Allocation) -> Double {
    zip(points, allocation.choice).reduce(0) { $0 + $1.0[$1.1].rate }
  }

  func error(_ allocation: Allocation) -> Double {
    zip(points, allocation.choice).reduce(0) { $0 + $1.0[$1.1].error }
  }

  /// The least error for at most so many bits; nil where even the cheapest allocation has more.
  ///
  /// - Parameter others: allocations that are taken where they are within the budget and better.
  func leastError(rate limit: Double, or others: [Allocation] = []) -> Allocation? {
    var (best, corners) = walk()
    guard rate(best) <= limit else { return nil }
    var total = rate(best)
    for corner in corners {
      let next = total + points[corner.unit][corner.choice].rate - points[corner.unit][best.choice[corner.unit]].rate
      guard next <= limit else { continue }
      total = next
      best.choice[corner.unit] = corner.choice
    }
    for other in others where rate(other) <= limit && error(other) < error(best) { best = other }
    improve(&best, \.error, keeping: \.rate, within: limit)
    return best
  }

  /// The fewest bits for at most so much error; nil where even the most exact allocation has more.
  func leastRate(error limit: Double) -> Allocation? {
    var (best, corners) = walk()
    var total = error(best)
    for corner in corners where total > limit {
      total += points[corner.unit][corner.choice].error - points[corner.unit][best.choice[corner.unit]].error
      best.choice[corner.unit] = corner.choice
    }
    guard error(best) <= limit else { return nil }
    improve(&best, \.rate, keeping: \.error, within: limit)
    return best
  }

  /// Single changes that lower one sum and keep the other within its limit, the greatest gain first, until there is none.
  private func improve(
    _ best: inout Allocation, _ lowered: KeyPath<(rate: Double, error: Double), Double>,
    keeping kept: KeyPath<(rate: Double, error: Double), Double>, within limit: Double
  ) {
    var total = zip(points, best.choice).reduce(0) { $0 + $1.0[$1.1][keyPath: kept] }
    // Each round looks at every way and takes one change. What is left over is less than a unit's step; of many units
    // that is nothing.
    for _ in 0..<min(points.count, 64) {
      var found: (unit: Int, choice: Int, gain: Double)?
      for (unit, own) in points.enumerated() {
        let now = own[best.choice[unit]]
        for (choice, point) in own.enumerated() {
          let gain = now[keyPath: lowered] - point[keyPath: lowered]
          guard gain > found?.gain ?? 0, total + point[keyPath: kept] - now[keyPath: kept] <= limit else { continue }
          found = (unit, choice, gain)
        }
      }
      guard let found else { return }
      total +=
        points[found.unit][found.choice][keyPath: kept] - points[found.unit][best.choice[found.unit]][keyPath: kept]
      best.choice[found.unit] = found.choice
    }
  }

  /// The allocations of every price, from the cheapest to the most exact, at most `count` of them, evenly spaced in order.
  func front(count: Int) -> [Allocation] {
    var (current, corners) = walk()
    var all = [current]
    for corner in corners {
      current.choice[corner.unit] = corner.choice
      all.append(current)
    }
    guard all.count > count else { return all }
    return (0..<count).map { all[$0 * (all.count - 1) / (count - 1)] }
  }
}
