/// What a plan is to keep.
public enum Budget: Sendable, Hashable {
  /// Bits a parameter of codes, scales and custom tables, all moments of 4,096 elements and more together, before the
  /// lossless stage; lossless ones count in full.
  case bitsPerParameter(Double)
  /// Bits of moments after the lossless stage, those of the plan's units alone.
  case storedBits(Double)
  /// The relative L2 error of all pairs' updates together; moments alone keep it each.
  case updateError(Double)
  /// The relative L2 error of each tensor.
  case relativeL2(Double)
  /// The absolute error of each element.
  case absoluteError(Double)

  /// Whether it holds for single tensors or elements, of which a sample tells nothing.
  public var isOfEach: Bool {
    switch self {
    case .relativeL2, .absoluteError: true
    default: false
    }
  }
}
