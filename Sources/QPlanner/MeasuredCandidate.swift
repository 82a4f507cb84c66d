/// What storing a unit in one way costs and does, over all of it; of a sample, taken for the whole.
public struct MeasuredCandidate: Sendable {
  /// The way.
  public let candidate: PlanCandidate
  /// Bits of codes, scales and custom tables, exact; of lossless tensors those of their elements.
  public let bits: Int
  /// Bits after the lossless stage; `bits` where none was asked for.
  public var storedBits: Double
  /// Σ (u − û)² of a pair's updates. Of a moment alone its relative squared error times its elements: as if its own root mean
  /// square were an update of 1.
  public var squaredError = 0.0
  /// max |u − û| of a pair, max |x − x̂| of a moment alone.
  public var maxUpdateError = 0.0
  /// √(Σ (x − x̂)² / Σ x²), the greater one of the unit's tensors.
  public var relativeL2 = 0.0
  /// max |x − x̂|, the greater one of the unit's tensors.
  public var maxAbsError = 0.0
}

/// A unit with all that was tried for it.
public struct MeasuredUnit: Sendable {
  /// The tensors.
  public let unit: PlanUnit
  /// What can be had, in order of bits; the lossless one among them.
  public let candidates: [MeasuredCandidate]
  /// Σ u² of a pair, over all of it; the elements of a moment alone.
  public let squaredUpdate: Double
}
