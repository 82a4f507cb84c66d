import QCheckpoint
import QCodec

extension Planner {
  /// What a budget comes to.
  public enum Outcome: Sendable {
    /// A plan within it.
    case met(Plan)
    /// No plan is; this one comes nearest.
    case missed(Plan)
  }

  /// The plan that keeps a budget of bits with the least error, or a bound on errors with the fewest bits.
  public func plan(_ budget: Budget) -> Outcome {
    switch budget {
    case .bitsPerParameter(let bits):
      // Not even a bit more than asked for, whatever rounding the product has.
      let limit = bits * Double(units.reduce(0) { $0 + $1.unit.elements }) * (1 + 1e-12)
      return leastError(limit) { Double($0.bits) }
    case .storedBits(let bits): return leastError(bits, \.storedBits)
    case .updateError(let limit): return leastBits(updateError: limit)
    case .relativeL2(let limit): return leastBits { _, way in way.relativeL2 <= limit }
    case .absoluteError(let limit): return leastBits { _, way in way.maxAbsError <= limit }
    }
  }

  /// Plans for every price of a bit, from the smallest to the most exact, at most `count`.
  public func front(count: Int) -> [Plan] {
    curves { Double($0.bits) }.front(count: count).map { Plan(units, $0) }
  }

  /// The plan in which every unit is stored as a policy has it, of ways that were tried; nil where one was not.
  public func plan(of policy: Policy) throws(QCodecError) -> Plan? {
    guard let allocation = try allocation(of: policy) else { return nil }
    return Plan(units, allocation)
  }

  func curves(_ rate: (MeasuredCandidate) -> Double) -> RateDistortion {
    RateDistortion(points: units.map { unit in unit.candidates.map { (rate: rate($0), error: $0.squaredError) } })
  }

  private func leastBits(updateError limit: Double) -> Outcome {
    // The sums of pairs are bounded together, moments alone each.
    let pairs = units.indices.filter { units[$0].unit.isPair }
    let curves = RateDistortion(
      points: pairs.map { units[$0].candidates.map { (rate: rate($0), error: $0.squaredError) } })
    let total = pairs.reduce(0) { $0 + units[$1].squaredUpdate }
    let best = curves.leastRate(error: limit * limit * total)
    var (choice, isMet) = ([Int](repeating: 0, count: units.count), best != nil)
    let fallback = curves.front(count: 2)
    for (place, unit) in pairs.enumerated() { choice[unit] = (best ?? fallback[fallback.count - 1]).choice[place] }
    for (index, unit) in units.enumerated() where !unit.unit.isPair {
      let (own, kept) = cheapest(of: unit) { $0.relativeL2 <= limit }
      choice[index] = own
      isMet = isMet && kept
    }
    let plan = Plan(units, Allocation(choice: choice))
    return isMet ? .met(plan) : .missed(plan)
  }

  private func leastBits(_ keeps: (MeasuredUnit, MeasuredCandidate) -> Bool) -> Outcome {
    let found = units.map { unit in cheapest(of: unit) { keeps(unit, $0) } }
    let plan = Plan(units, Allocation(choice: found.map(\.choice)))
    return found.allSatisfy(\.kept) ? .met(plan) : .missed(plan)
  }

  private func rate(_ way: MeasuredCandidate) -> Double { countsStored ? way.storedBits : Double(way.bits) }

  /// The way of fewest bits that keeps a bound; the last, the lossless one, where none does.
  private func cheapest(
    of unit: MeasuredUnit, _ keeps: (MeasuredCandidate) -> Bool
  ) -> (choice: Int, kept: Bool) {
    let kept = unit.candidates.indices.filter { keeps(unit.candidates[$0]) }
    if let choice = kept.min(by: { rate(unit.candidates[$0]) < rate(unit.candidates[$1]) }) { return (choice, true) }
    return (unit.candidates.count - 1, false)
  }

  func allocation(of policy: Policy) throws(QCodecError) -> Allocation? {
    let tensors = units.flatMap(\.unit.tensors)
    let planned = try policy.plan(tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape) })
    var (place, choice) = (0, [Int]())
    for unit in units {
      var schemes: [Scheme?] = []
      for _ in unit.unit.tensors {
        guard case .encode(let plan) = planned[place].decision else { return nil }
        if case .quantized(let scheme, _) = plan.encoding { schemes.append(scheme) } else { schemes.append(nil) }
        place += 1
      }
      let wanted = PlanCandidate(
        first: unit.unit.first == nil ? nil : schemes[0],
        second: unit.unit.second == nil ? nil : schemes[schemes.count - 1])
      guard let found = unit.candidates.firstIndex(where: { $0.candidate == wanted }) else { return nil }
      choice.append(found)
    }
    return Allocation(choice: choice)
  }
}
