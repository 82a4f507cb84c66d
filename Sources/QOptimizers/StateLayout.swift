import QCodec

/// How the moments of one tensor lie in memory: as streams of a scheme, or as float32.
///
/// A stream is that of `TensorCodec` and `MomentCodec`, so that what an optimizer holds can be decoded, sliced and stored
/// as it is.
public struct StateLayout: Sendable {
  /// How one moment lies.
  public enum Storage: Sendable {
    /// The rule has no such moment.
    case none
    /// float32, one an element.
    case float32
    /// A stream.
    case stream(TensorLayout)
  }

  /// The schemes of a tensor's moments; nil for float32.
  public struct Schemes: Sendable, Hashable {
    /// Of the first moment: signed, in either domain.
    public var first: Scheme?
    /// Of the second moment, and of the greatest: unsigned, or the `log` map.
    public var second: Scheme?
    /// Whether the second moment is factored, whatever its scheme.
    public var isSecondFactored: Bool

    /// Schemes of both moments, float32 where there is none.
    public init(first: Scheme? = nil, second: Scheme? = nil, isSecondFactored: Bool = false) {
      self.first = first
      self.second = second
      self.isSecondFactored = isSecondFactored
    }
  }

  /// The lengths of the tensor's axes, C order.
  public let shape: [UInt64]
  /// The product of the lengths.
  public let elementCount: Int
  /// The first moment: Adam's m, a momentum.
  public let first: Storage
  /// The second moment: Adam's v, a sum of squares; none where it is factored.
  public let second: Storage
  /// A second moment that is a float32 factor of each row and each column.
  public let factored: FactoredShape?
  /// The greatest second moment so far.
  public let greatest: Storage

  /// Lays out the state of a tensor under a rule.
  ///
  /// Throws `unsupportedScheme` for a first moment that is not signed, a second moment that is, an import, a first moment
  /// in the update domain whose second moment is no stream in blocks or that is not in blocks itself, a factored second
  /// moment of another rule than Adam or of a shape that is no matrix, and as `TensorLayout` does.
  public init(rule: OptimizerRule, shape: [UInt64], schemes: Schemes) throws(QCodecError) {
    let has = rule.moments
    self.shape = shape
    elementCount = Int(clamping: try TensorLayout.elementCount(of: shape))
    guard elementCount < 1 << 60 else { throw QCodecError(.limitExceeded, "the shape \(shape) exceeds 2^63 bytes") }
    first = try has.first ? Self.storage(schemes.first, shape: shape, isFirst: true) : .none
    factored = try schemes.isSecondFactored ? Self.factored(rule, shape) : nil
    second = try has.second && factored == nil ? Self.storage(schemes.second, shape: shape, isFirst: false) : .none
    greatest = try has.greatest ? Self.storage(schemes.second, shape: shape, isFirst: false) : .none
    if case .stream(let layout) = first, layout.scheme.domain == .update {
      guard case .block = layout.scheme.scaling, case .stream(let other) = second, case .block = other.scheme.scaling
      else {
        throw QCodecError(
          .unsupportedScheme, "an optimizer has first moments in the update domain where both moments are in blocks")
      }
    }
  }

  private static func factored(_ rule: OptimizerRule, _ shape: [UInt64]) throws(QCodecError) -> FactoredShape {
    guard case .adam = rule, !rule.moments.greatest, let matrix = FactoredShape(shape: shape) else {
      throw QCodecError(
        .unsupportedScheme, "second moments are factored under Adam without AMSGrad, of matrices, not of \(shape)")
    }
    return matrix
  }

  private static func storage(_ scheme: Scheme?, shape: [UInt64], isFirst: Bool) throws(QCodecError) -> Storage {
    guard let scheme else { return .float32 }
    guard scheme.signed == isFirst, scheme.rounding != .unknown, scheme.customTable?.isImport != true,
      isFirst || scheme.domain == .value
    else {
      throw QCodecError(
        .unsupportedScheme,
        isFirst ? "first moments take signed schemes to encode with" : "second moments take unsigned ones")
    }
    return .stream(try TensorLayout(dtype: .f32, shape: shape, scheme: scheme))
  }

  /// Bytes of a moment: exact.
  public func byteCount(_ moment: KeyPath<StateLayout, Storage>) -> Int {
    switch self[keyPath: moment] {
    case .none: moment == \.second ? factored?.byteCount ?? 0 : 0
    case .float32: elementCount * 4
    case .stream(let layout): layout.streamByteCount
    }
  }

  /// The storages in the order of buffers: first, second, greatest.
  var storages: [Storage] { [first, second, greatest] }

  /// Bytes of each buffer.
  public var byteCounts: [Int] { [byteCount(\.first), byteCount(\.second), byteCount(\.greatest)] }
}

extension StateLayout.Storage {
  var layout: TensorLayout? { if case .stream(let layout) = self { layout } else { nil } }

  var isNone: Bool { if case .none = self { true } else { false } }
}
