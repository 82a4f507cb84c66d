import QCheckpoint
import QCodec

/// One way to store a unit: a scheme for each of its tensors, nil for lossless.
public struct PlanCandidate: Sendable, Hashable {
  /// Of the first moment.
  public var first: Scheme?
  /// Of the second moment.
  public var second: Scheme?
  /// How far apart the first moment's codes stand; nil where the extremes of blocks decide.
  public var firstStep: QuantizationStep?
  /// The same of the second moment.
  public var secondStep: QuantizationStep?

  /// A way of two schemes, and of steps.
  public init(
    first: Scheme? = nil, second: Scheme? = nil, firstStep: QuantizationStep? = nil,
    secondStep: QuantizationStep? = nil
  ) {
    self.first = first
    self.second = second
    self.firstStep = firstStep
    self.secondStep = secondStep
  }

  /// Bits that a unit takes: codes, scales and custom tables, before the lossless stage. A lossless tensor counts in full.
  func bits(of unit: PlanUnit) throws(QCodecError) -> Int {
    try unit.bits(ofFirst: first) + unit.bits(ofSecond: second)
  }
}

extension PlanUnit {
  /// Bits of the first moment under a scheme; 0 where there is none.
  func bits(ofFirst scheme: Scheme?) throws(QCodecError) -> Int { try Self.bits(first, scheme, elements) }

  /// Bits of the second moment under a scheme; 0 where there is none.
  func bits(ofSecond scheme: Scheme?) throws(QCodecError) -> Int { try Self.bits(second, scheme, elements) }

  private static func bits(_ tensor: InputTensor?, _ scheme: Scheme?, _ elements: Int) throws(QCodecError) -> Int {
    guard let tensor else { return 0 }
    guard let scheme else { return elements * tensor.dtype.bitWidth }
    let layout = try TensorLayout(dtype: tensor.dtype, shape: tensor.shape, scheme: scheme)
    return layout.streamByteCount * 8 + (scheme.customTable?.entries.count ?? 0) * 32
  }
}
