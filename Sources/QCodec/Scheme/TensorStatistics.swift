/// What encoding did to a tensor, measured by the encoder in the same pass.
///
/// Sums are exact in the sense of the spec: float64 terms, sixteen partial sums a chunk, a fixed tree, chunks in
/// order; equal at every thread count.
public struct TensorStatistics: Sendable, Equatable {
  /// max |x − x̂| over all elements.
  public var maxAbsError: Double = 0
  /// max |x − x̂| / |scale| over elements whose scale is not zero.
  public var maxScaledError: Double = 0
  /// Σ (x − x̂)².
  public var squaredError: Double = 0
  /// Σ x².
  public var squaredSource: Double = 0
  /// Non-zero elements that decode to zero.
  public var zerosCreated: UInt64 = 0
  /// Non-zero elements that decode to a value of the other sign.
  public var signChanges: UInt64 = 0
  /// The largest |x − x̂| that the codes and scales written admit; see Spec/ErrorBounds.md.
  public var guaranteedMaxAbsError: Double = 0

  /// Creates the statistics of an exact encoding.
  public init() {}

  /// √(Σ (x − x̂)² / Σ x²); 0/0 is 0.
  public var relativeL2Error: Double {
    withCodecEnvironment { squaredError == 0 ? 0 : (squaredError / squaredSource).squareRoot() }
  }

  /// Folds in the statistics of the next chunk, in order.
  public mutating func append(_ next: TensorStatistics) {
    maxAbsError = max(maxAbsError, next.maxAbsError)
    maxScaledError = max(maxScaledError, next.maxScaledError)
    squaredError += next.squaredError
    squaredSource += next.squaredSource
    zerosCreated += next.zerosCreated
    signChanges += next.signChanges
    guaranteedMaxAbsError = max(guaranteedMaxAbsError, next.guaranteedMaxAbsError)
  }
}
