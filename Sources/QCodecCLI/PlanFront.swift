import QCheckpoint
import QCodec
import QPlanner
import QReport

/// The best that plans make of a state at each size, as the chart of a report shows it.
struct PlanFront: Sendable {
  let epsilon: Double
  let threads: Int

  /// At most so many plans.
  private static let count = 32

  /// The front of a document of pairs, with the lossless stage that encode has by default; empty without pairs of 4,096
  /// elements and more. Smaller ones, which no plan changes, count in full.
  func points(of document: InputDocument) throws(QCodecError) -> [TradeOff.Point] {
    var options = Planner.Options()
    options.epsilon = epsilon
    options.threads = threads
    options.compression = .lz4
    options.boundsEach = false
    let planner = try Planner(document, options)
    guard !planner.units.isEmpty else { return [] }
    let (all, bits) = document.tensors.reduce((0, 0)) { sums, tensor in
      (sums.0 + Int(tensor.source.byteCount) * 8 / tensor.dtype.bitWidth, sums.1 + Int(tensor.source.byteCount) * 8)
    }
    let planned = planner.units.flatMap(\.unit.tensors).reduce(0) { $0 + Int($1.source.byteCount) * 8 }
    // Beyond those that have a unit lossless which need not be, nothing is left between 17 bits and 64.
    let front = planner.front(count: Self.count)
    let quantized = front.filter { Self.losslessUnits($0) == Self.losslessUnits(front[0]) }
    return quantized.map { plan in
      let total = plan.storedBits + Double(bits - planned)
      return TradeOff.Point(
        name: "plan of \(Decimal.text(plan.bitsPerParameter, digits: 2)) bits", kind: .plan,
        bitsPerParameter: total / (Double(all) / 2), updateError: plan.updateError, maxUpdateError: plan.maxUpdateError)
    }
  }

  private static func losslessUnits(_ plan: Plan) -> Int {
    plan.choices.count { $0.chosen.candidate == PlanCandidate() }
  }
}
