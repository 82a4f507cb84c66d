import QCheckpoint
import QCodec

/// One tensor of a report.
public struct TensorFigures: Sendable {
  /// Its name as the file has it.
  public var name: String
  /// The type of its elements.
  public var dtype: DType
  /// The lengths of its axes, C order.
  public var shape: [UInt64]
  /// What it is to the optimizer.
  public var role: Role
  /// How it is quantized; nil if it is lossless.
  public var scheme: Scheme?
  /// The product of the shape.
  public var elements: UInt64
  /// Bytes as it was given.
  public var sourceBytes: UInt64
  /// Bytes of its chunks in the file.
  public var storedBytes: UInt64
  /// √(Σ (x − x̂)² / Σ x²): measured against the original where there is one, else as recorded.
  public var relativeL2Error: Double
  /// max |x − x̂|, likewise.
  public var maxAbsError: Double
  /// The largest |x − x̂| that the file admits, as recorded; nil where nothing is guaranteed.
  public var guaranteedMaxAbsError: Double?
  /// Non-zero elements that decode to zero, as recorded.
  public var zerosCreated: UInt64
  /// Violations that verification found in it.
  public var violations: UInt64 = 0

  /// Bits stored for each element; 0 without elements.
  public var bitsPerValue: Double { elements == 0 ? 0 : Double(storedBytes) * 8 / Double(elements) }

  /// The share of the bound that the largest error leaves; nil without a bound above 0, below 0 where it is exceeded.
  public var margin: Double? {
    guard let bound = guaranteedMaxAbsError, bound > 0, bound.isFinite else { return nil }
    return 1 - maxAbsError / bound
  }
}

extension TensorFigures {
  /// A tensor as its directory describes it.
  init(_ info: TensorInfo) {
    name = info.name
    dtype = info.dtype
    shape = info.shape
    role = info.role
    scheme = info.scheme
    elements = info.elementCount
    sourceBytes = info.sourceBytes
    storedBytes = info.storedBytes
    relativeL2Error = info.statistics.relativeL2Error
    maxAbsError = info.statistics.maxAbsError
    guaranteedMaxAbsError = info.guaranteedMaxAbsError
    zerosCreated = info.statistics.zerosCreated
  }
}
