import QCodec

/// What verification found.
public struct VerificationReport: Sendable {
  /// Something that is not as the file or the original says.
  public struct Violation: Sendable, Equatable {
    public let tensor: String
    /// The element, in C order; nil where the whole tensor is concerned.
    public let index: UInt64?
    public let expected: Double?
    public let got: Double?
    public let bound: Double?
    /// What is wrong, in words.
    public let reason: String
  }

  /// One tensor's part.
  public struct Tensor: Sendable {
    public let name: String
    /// Measured against the original, or as recorded without one.
    public var maxAbsError: Double
    public var relativeL2Error: Double
    public var violations: UInt64
    /// As recorded; nil where nothing is guaranteed.
    public var guaranteedMaxAbsError: Double?
    /// As recomputed from codes and scales; nil where nothing is guaranteed.
    public var recomputedGuarantee: Double?
  }

  public internal(set) var tensors: [Tensor] = []
  public internal(set) var violations: UInt64 = 0
  /// The first in the order of tensors and elements; missing tensors come last.
  public internal(set) var firstViolation: Violation?

  /// Whether all is as it should be.
  public var ok: Bool { violations == 0 }

  mutating func add(_ violation: Violation, count: UInt64 = 1) {
    violations += count
    if firstViolation == nil { firstViolation = violation }
  }
}
