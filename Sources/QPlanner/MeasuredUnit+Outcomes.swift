import QCheckpoint
import QCodec

extension MeasuredUnit {
  /// Adds up what the chunks of a unit gave, in order; of a sample, the sums are taken for the whole.
  init(
    _ unit: PlanUnit, _ candidates: [PlanCandidate], _ outcomes: [[UnitMeasurer.Outcome?]], _ chunks: [Int],
    _ options: Planner.Options
  ) throws(QCodecError) {
    self.unit = unit
    let size = TensorLayout.chunkElements
    let tried = chunks.reduce(0) { $0 + min(size, unit.elements - $1 * size) }
    let share = Double(unit.elements) / Double(tried)
    var measured: [MeasuredCandidate] = []
    var squaredUpdate: Double?
    for (index, candidate) in candidates.enumerated() {
      let own = outcomes.map { $0[index] }
      // What a chunk cannot be stored in, the tensor cannot.
      guard let sums = Sums(own.compactMap(\.self), epsilon: options.epsilon), own.allSatisfy({ $0 != nil }) else {
        continue
      }
      if let update = sums.update { squaredUpdate = update.squaredUpdate * share }
      let bits = try candidate.bits(of: unit)
      var way = MeasuredCandidate(
        candidate: candidate, bits: bits,
        storedBits: options.compression == .none ? Double(bits) : 8 * Double(sums.storedBytes) * share)
      way.relativeL2 = max(sums.first.relativeL2Error, sums.second.relativeL2Error)
      way.maxAbsError = max(sums.first.maxAbsError, sums.second.maxAbsError)
      if let update = sums.update {
        way.squaredError = update.squaredError * share
        way.maxUpdateError = update.maxAbsError
      } else {
        way.squaredError = way.relativeL2 * way.relativeL2 * Double(unit.elements)
        way.maxUpdateError = way.maxAbsError
      }
      // What is not finite is never chosen.
      if way.squaredError.isFinite, way.maxUpdateError.isFinite { measured.append(way) }
    }
    self.candidates = measured.sorted { ($0.bits, $0.squaredError) < ($1.bits, $1.squaredError) }
    self.squaredUpdate = squaredUpdate ?? Double(unit.elements)
  }

  /// The sums of a way over chunks.
  private struct Sums {
    var first = TensorStatistics()
    var second = TensorStatistics()
    var update: UpdateError?
    var storedBytes = 0

    init?(_ outcomes: [UnitMeasurer.Outcome], epsilon: Double) {
      guard !outcomes.isEmpty else { return nil }
      withCodecEnvironment {
        for outcome in outcomes {
          if let next = outcome.first { first.append(next) }
          if let next = outcome.second { second.append(next) }
          if let next = outcome.update {
            var sum = update ?? UpdateError(epsilon: epsilon)
            sum.append(next)
            update = sum
          }
          storedBytes += outcome.storedBytes
        }
      }
    }
  }
}
