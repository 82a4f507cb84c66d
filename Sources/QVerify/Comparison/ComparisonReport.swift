import QCheckpoint
import QCodec

/// What comparing two documents of tensors found.
public struct ComparisonReport: Sendable {
  /// What became of a tensor from a to b.
  public enum Change: String, Sendable, CaseIterable {
    case equal
    /// Of the same shape and dtype, and of other values.
    case changed
    case added
    case removed
    /// Of another shape; the dtype may be another too.
    case reshaped
    /// Of the same shape and another dtype.
    case retyped
  }

  /// A tensor as one side has it.
  public struct Form: Sendable {
    /// The type of its elements.
    public let dtype: DType
    /// The lengths of its axes, C order.
    public let shape: [UInt64]
    /// How a checkpoint stores it; nil for a lossless one and in other formats.
    public let scheme: Scheme?
  }

  /// One tensor of either side.
  public struct Tensor: Sendable {
    /// Its name.
    public let name: String
    /// What became of it.
    public internal(set) var change: Change
    /// As a has it; nil if it was added.
    public let a: Form?
    /// As b has it; nil if it was removed.
    public let b: Form?
    /// Whether the schemes differ, or one side alone is lossless; nil unless both sides are checkpoints.
    public let schemesDiffer: Bool?
    /// Elements whose values differ, by their bits: +0 and −0 differ, a NaN equals one of the same bits. Of different
    /// dtypes: whose values as float64 do. nil where elements cannot be set side by side.
    public internal(set) var differing: UInt64?
    /// How far apart the values are; nil where they are compared by their bits alone, or not at all.
    public internal(set) var distance: ValueDistance?
    /// Of a first moment whose second moment both sides have: the distance of the updates m/(√v + ε).
    public internal(set) var update: UpdateError?
    /// The second moment that this is measured with.
    public internal(set) var secondMoment: String?

    /// Whether names, shapes and dtypes agree, and the values to within limits; the values of dtypes that no distance is
    /// computed of are to be equal.
    public func isWithin(_ limits: CheckpointComparison.Limits) -> Bool {
      if change == .equal { return true }
      guard change == .changed, let distance else { return false }
      // NaN exceeds every limit.
      let limited = [(distance.relativeL2, limits.maxRelativeL2), (distance.maxAbs, limits.maxAbsolute)]
      return limited.allSatisfy { got, limit in limit.map { got <= $0 } ?? true }
    }
  }

  /// All tensors of both sides in the order of their names' bytes.
  public internal(set) var tensors: [Tensor] = []
  /// Limits within which values may differ; nil if none were given.
  public let limits: CheckpointComparison.Limits?
  /// The distance of all tensors together that have one.
  public internal(set) var distance = ValueDistance()
  /// The distance of the updates of all pairs of moments together.
  public internal(set) var update: UpdateError
  /// The pairs that this is of.
  public internal(set) var pairs = 0
  /// Members of the users' metadata that differ, in the order of their keys.
  public internal(set) var metadata: [MetadataDifference] = []
  /// Other members of two checkpoints' metadata documents that differ, `policy` for instance, in order; nil unless both
  /// sides are checkpoints.
  public internal(set) var documentMembers: [String]?

  /// How many tensors a change was made to.
  public func count(_ change: Change) -> Int { tensors.reduce(0) { $0 + ($1.change == change ? 1 : 0) } }

  /// Whether both sides have the same names, shapes and dtypes, and values of the same bits. Metadata, schemes and kinds of
  /// files do not count.
  public var isEqual: Bool { tensors.allSatisfy { $0.change == .equal } }

  /// Whether all tensors are equal, or within the limits if any were given.
  public var isWithinLimits: Bool {
    guard let limits else { return isEqual }
    return tensors.allSatisfy { $0.isWithin(limits) }
  }
}

/// A member of the user's metadata that is not the same on both sides.
public struct MetadataDifference: Sendable, Equatable {
  /// Its key.
  public let key: String
  /// Its value in a; nil where there is none.
  public let a: JSONValue?
  /// Its value in b; nil where there is none.
  public let b: JSONValue?
}
