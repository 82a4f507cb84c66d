/// One way for each unit, and what that comes to.
public struct Plan: Sendable {
  /// The units with the way chosen for each.
  public let choices: [(unit: MeasuredUnit, chosen: MeasuredCandidate)]

  init(_ units: [MeasuredUnit], _ allocation: Allocation) {
    choices = zip(units, allocation.choice).map { ($0, $0.candidates[$1]) }
  }

  /// Parameters that the units belong to.
  public var parameters: Int { choices.reduce(0) { $0 + $1.unit.unit.elements } }

  /// Bits a parameter before the lossless stage.
  public var bitsPerParameter: Double {
    parameters == 0 ? 0 : Double(choices.reduce(0) { $0 + $1.chosen.bits }) / Double(parameters)
  }

  /// Bits after the lossless stage.
  public var storedBits: Double { choices.reduce(0) { $0 + $1.chosen.storedBits } }

  private var pairs: [(unit: MeasuredUnit, chosen: MeasuredCandidate)] { choices.filter { $0.unit.unit.isPair } }

  /// √(Σ (u − û)² / Σ u²) over the updates of all pairs; 0/0 is 0.
  public var updateError: Double {
    let error = pairs.reduce(0) { $0 + $1.chosen.squaredError }
    return error == 0 ? 0 : (error / pairs.reduce(0) { $0 + $1.unit.squaredUpdate }).squareRoot()
  }

  /// max |u − û| over the updates of all pairs.
  public var maxUpdateError: Double { pairs.map(\.chosen.maxUpdateError).max() ?? 0 }

  /// The greatest relative L2 error of a tensor.
  public var relativeL2: Double { choices.map(\.chosen.relativeL2).max() ?? 0 }

  /// The greatest absolute error of an element.
  public var maxAbsError: Double { choices.map(\.chosen.maxAbsError).max() ?? 0 }
}
