import QCodec

/// Why a tensor is stored otherwise than its rule's scheme says; the raw value is the code that files store.
public enum FallbackReason: UInt8, Sendable, CaseIterable {
  /// The policy says lossless, or the tensor is quantized.
  case none = 0
  case nonFinite = 1
  case negative = 2
  case tooSmall = 3
  case dtype = 4
  /// Quantized in the value domain, for no second moment is its partner.
  case noSecondMoment = 5
  /// Likewise, for several are.
  case severalSecondMoments = 6
  /// Likewise, for its partner is dropped, lossless, signed or an import.
  case secondMomentNotUsable = 7
  /// Likewise, for a quotient, scale or decoded value would overflow.
  case updateNotFinite = 8

  /// The name in JSON; nil where there is nothing to explain.
  public var name: String? {
    switch self {
    case .none: nil
    case .nonFinite: "non_finite_values"
    case .negative: "negative_values"
    case .tooSmall: "too_few_elements"
    case .dtype: "dtype_not_quantizable"
    case .noSecondMoment: "no_second_moment"
    case .severalSecondMoments: "several_second_moments"
    case .secondMomentNotUsable: "second_moment_not_usable"
    case .updateNotFinite: "update_not_finite"
    }
  }

  /// Whether it explains why a first moment is not in the update domain, rather than why a tensor is lossless.
  public var isOfUpdateDomain: Bool { rawValue >= Self.noSecondMoment.rawValue }
}

/// How a tensor is to be stored.
public enum Encoding: Sendable, Hashable {
  case lossless(reason: FallbackReason)
  /// `reason` tells why a first moment is not in the update domain that was asked for.
  case quantized(Scheme, reason: FallbackReason = .none)
}

/// What to do with a NaN or an infinity in a tensor to be quantized.
public enum NonFinitePolicy: Sendable {
  /// Refuse it, naming tensor, index and value; no file appears.
  case error
  /// Store that tensor lossless; the directory says so.
  case raw
}
