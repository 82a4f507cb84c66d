import QCodec

/// What verification found.
public struct VerificationReport: Sendable {
  /// Something that is not as the file or the original says.
  public struct Violation: Sendable, Equatable {
    /// The tensor's name; nil where all tensors together are concerned.
    public let tensor: String?
    /// The element, in C order; nil where the whole tensor is concerned.
    public let index: UInt64?
    /// The original's value; nil where no element is concerned.
    public let expected: Double?
    /// The decoded value, or the recorded or measured figure that is too small or too large.
    public let got: Double?
    /// What `got` was held against: an element's bound, the recomputed guarantee or a limit; nil without one.
    public let bound: Double?
    /// What is wrong, in words.
    public let reason: String
  }

  /// One tensor's part.
  public struct Tensor: Sendable {
    /// Its name.
    public let name: String
    /// Measured against the original, or as recorded without one.
    public var maxAbsError: Double
    /// √(Σ (x − x̂)² / Σ x²), measured or as recorded; 0/0 is 0.
    public var relativeL2Error: Double
    /// Violations of this tensor.
    public var violations: UInt64
    /// As recorded; nil where nothing is guaranteed.
    public var guaranteedMaxAbsError: Double?
    /// As recomputed from codes and scales; nil where nothing is guaranteed.
    public var recomputedGuarantee: Double?
    /// As recorded: under `log` relative to x, in the update domain to √v̂; nil for other schemes.
    public var guaranteedMaxRelError: Double?
    /// As recomputed from codes, scales and second moments; nil for other schemes.
    public var recomputedRelGuarantee: Double?
    /// Of a first moment: what coding it and its second moment did to the update, where there is an original.
    public var updateError: UpdateError?
    /// The second moment that this is measured with.
    public var secondMoment: String?
  }

  /// A report of nothing.
  public init() {}

  /// The checkpoint's tensors in the order of their names.
  public internal(set) var tensors: [Tensor] = []
  /// Violations of all tensors, missing ones included.
  public internal(set) var violations: UInt64 = 0
  /// What coding did to the updates of all pairs of moments together; nil without an original.
  public internal(set) var updateError: UpdateError?
  /// The pairs that this is of.
  public internal(set) var pairs = 0
  /// The first in the order of tensors and elements; missing tensors come last.
  public internal(set) var firstViolation: Violation?

  /// Whether all is as it should be.
  public var ok: Bool { violations == 0 }

  mutating func add(_ violation: Violation, count: UInt64 = 1) {
    violations += count
    if firstViolation == nil { firstViolation = violation }
  }
}
