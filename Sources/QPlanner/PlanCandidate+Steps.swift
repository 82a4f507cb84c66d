import QCheckpoint
import QCodec

/// What is known of all values of a unit, by which steps are chosen.
struct UnitValues: Sendable {
  /// Of the first moment, in pairs of m/√v.
  var squares = SquareSum()
  /// The least element of the second moment that is not zero; infinite where there is none.
  var least = Float.infinity

  /// Looks over the chunks of a unit, all of them.
  init(_ unit: PlanUnit) throws(QCodecError) {
    guard unit.isQuantizable else { return }
    for chunk in 0..<unit.chunkCount {
      let start = chunk * TensorLayout.chunkElements
      let moments = try unit.moments([start..<min(unit.elements, start + TensorLayout.chunkElements)])
      unsafe moments.m.withBytes { m in
        unsafe moments.v.withBytes { v in
          if let first = unit.first {
            let next = unsafe SquareSum(
              of: m, first.dtype, over: unit.second == nil ? nil : v, unit.second?.dtype ?? .f32)
            withCodecEnvironment { squares.append(next) }
          }
          guard let second = unit.second else { return }
          var scan = ValueScan()
          unsafe scan.scan(source: v, dtype: second.dtype, startingAt: 0)
          least = min(least, scan.leastNonzeroMagnitude)
        }
      }
    }
  }
}

extension PlanCandidate {
  /// Uniform steps for an entropy coder to follow, from a fourth of a percent of error to a fourth: as in the preset `adamq`, but
  /// as numbers, so that encoding has the very same.
  static func steps(for unit: PlanUnit, _ values: UnitValues) -> [PlanCandidate] {
    guard unit.isQuantizable else { return [] }
    return (0..<14).compactMap { place -> PlanCandidate? in
      let rules = Policy.adamq(quality: 0.25 * pow2(-Double(place) / 2)).rules
      var result = PlanCandidate()
      if unit.first != nil {
        guard case .quantize(let scheme) = rules[unit.isPair ? 0 : 2].action,
          case .rms(let factor)? = rules[unit.isPair ? 0 : 2].step
        else { return nil }
        let step = values.squares.step(factor)
        guard step > 0, step.isFinite else { return nil }
        (result.first, result.firstStep) = (scheme, .absolute(step))
      }
      if unit.second != nil {
        guard case .quantize(let scheme) = rules[1].action else { return nil }
        (result.second, result.secondStep) = (scheme, rules[1].step)
      }
      return result
    }
  }

  /// 2 to a multiple of one half, exact but for one rounding.
  private static func pow2(_ exponent: Double) -> Double {
    let whole = exponent.rounded(.down)
    return Double(sign: .plus, exponent: Int(whole), significand: whole == exponent ? 1 : 2.0.squareRoot())
  }
}
