import QCodec
import QVerify

/// The tensors of one scheme together: how often each code occurs, how large scales are, where errors fall.
public struct SchemeFigures: Sendable {
  /// The scheme; seeds aside, it is the same for all tensors.
  public var scheme: Scheme
  /// Tensors under the scheme.
  public var tensors = 0
  /// Their elements.
  public var elements: UInt64 = 0
  /// How often each code occurs.
  public var codes: CodeHistogram
  /// How large the scales are; under `log` the greatest value of each block.
  public var scales = ScaleHistogram()
  /// The error by the magnitude of the original; nil without an original.
  public var magnitudes: MagnitudeHistogram?

  /// A scheme without tensors.
  public init(scheme: Scheme) {
    self.scheme = scheme
    codes = CodeHistogram(bits: scheme.bits)
  }
}
