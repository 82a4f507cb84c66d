import QCodec

/// Why a tensor that a scheme was meant for is stored lossless; the raw value is the code that files store.
public enum FallbackReason: UInt8, Sendable, CaseIterable {
  /// The policy says lossless, or the tensor is quantized.
  case none = 0
  case nonFinite = 1
  case negative = 2
  case tooSmall = 3
  case dtype = 4

  /// The name in JSON; nil where there is nothing to explain.
  public var name: String? {
    switch self {
    case .none: nil
    case .nonFinite: "non_finite_values"
    case .negative: "negative_values"
    case .tooSmall: "too_few_elements"
    case .dtype: "dtype_not_quantizable"
    }
  }
}

/// How a tensor is to be stored.
public enum Encoding: Sendable, Hashable {
  case lossless(reason: FallbackReason)
  case quantized(Scheme)
}

/// What to do with a NaN or an infinity in a tensor to be quantized.
public enum NonFinitePolicy: Sendable {
  /// Refuse it, naming tensor, index and value; no file appears.
  case error
  /// Store that tensor lossless; the directory says so.
  case raw
}
