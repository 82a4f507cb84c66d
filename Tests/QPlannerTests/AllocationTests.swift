import TestSupport
import Testing

@testable import QPlanner

@Suite("Allocation of bits")
struct AllocationTests {
  /// A few units with a few ways each, in every order.
  private static func curves(seed: UInt64) -> RateDistortion {
    var numbers = SeededGenerator(seed: seed)
    return RateDistortion(
      points: (0..<4).map { _ in
        (0..<5).map { _ in (rate: Double(numbers.next() % 100 + 1), error: Double(numbers.next() % 1000)) }
      })
  }

  private static func every(_ curves: RateDistortion) -> [Allocation] {
    curves.points.reduce([Allocation(choice: [])]) { all, own in
      all.flatMap { start in own.indices.map { Allocation(choice: start.choice + [$0]) } }
    }
  }

  @Test("Near the best of all allocations, and within the budget", arguments: 1...40 as ClosedRange<UInt64>)
  func budgets(seed: UInt64) {
    let curves = Self.curves(seed: seed)
    let all = Self.every(curves)
    let cheapest = all.map(curves.rate).min() ?? 0
    for limit in stride(from: cheapest, through: 300, by: 37) {
      let best = all.filter { curves.rate($0) <= limit }.map(curves.error).min() ?? 0
      guard let found = curves.leastError(rate: limit) else {
        Issue.record("no allocation for \(limit), of at least \(cheapest)")
        continue
      }
      #expect(curves.rate(found) <= limit)
      // One price for all is off by less than one unit's widest step.
      let step = curves.points.map { ($0.map(\.error).max() ?? 0) - ($0.map(\.error).min() ?? 0) }.max() ?? 0
      #expect(curves.error(found) <= best + step)
      guard let cheap = curves.leastRate(error: curves.error(found)) else {
        Issue.record("no allocation for an error that one has")
        continue
      }
      #expect(curves.error(cheap) <= curves.error(found))
    }
    #expect(curves.leastError(rate: cheapest - 1) == nil)
    #expect(curves.leastRate(error: (all.map(curves.error).min() ?? 0) - 1) == nil)
  }

  @Test("A better allocation that is given is taken")
  func others() {
    // The corner costs more than there is; what lies above the hull is a way still.
    let curves = RateDistortion(points: [[(rate: 1, error: 10), (rate: 3, error: 8), (rate: 4, error: 0)]])
    #expect(curves.leastError(rate: 3)?.choice == [1])
    #expect(curves.leastError(rate: 4)?.choice == [2])
    let two = RateDistortion(points: Array(repeating: [(rate: 1, error: 10), (rate: 2, error: 1)], count: 2))
    #expect(two.leastError(rate: 3, or: [Allocation(choice: [1, 0])]).map(two.error) == 11)
  }

  @Test("The front falls from the cheapest to the most exact")
  func front() {
    for seed in 1...10 as ClosedRange<UInt64> {
      let curves = Self.curves(seed: seed)
      let front = curves.front(count: 8)
      #expect(front.count <= 8)
      for (one, next) in zip(front, front.dropFirst()) {
        #expect(curves.rate(one) < curves.rate(next) && curves.error(one) > curves.error(next))
      }
      #expect(front.first.map(curves.rate) == Self.every(curves).map(curves.rate).min())
      #expect(front.last.map(curves.error) == Self.every(curves).map(curves.error).min())
    }
  }

  @Test("Without units there is nothing to pay")
  func nothing() {
    let curves = RateDistortion(points: [])
    #expect(curves.leastError(rate: 0)?.choice == [])
    #expect(curves.leastRate(error: 0)?.choice == [])
  }
}
