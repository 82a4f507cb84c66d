import CQCodecKernels

/// Looks over a tensor for values that no quantized scheme, or no unsigned one, can hold.
public struct ValueScan: Sendable {
  /// A value and where it stands, in C order.
  public struct Found: Sendable, Equatable {
    /// The element's place, C order.
    public let index: UInt64
    /// What stands there.
    public let value: Float
  }

  /// The first NaN or infinity.
  public private(set) var firstNonFinite: Found?
  /// The first element below zero; −0 is not.
  public private(set) var firstNegative: Found?
  /// The largest magnitude.
  public private(set) var greatestMagnitude: Float = 0
  /// The smallest magnitude of an element that is not zero; infinite before there is one.
  public private(set) var leastNonzeroMagnitude: Float = .infinity

  /// A scan that has seen nothing.
  public init() {}

  /// Scans the elements that begin at `index` of the tensor; pieces are given in order.
  ///
  /// - Parameters:
  ///   - source: the chunk's elements in the tensor's dtype.
  ///   - dtype: the type of the elements.
  ///   - index: the number of the first element within the tensor.
  ///   - kernels: the instruction set to use; it does not change the result.
  public mutating func scan(
    source: UnsafeRawBufferPointer, dtype: DType, startingAt index: UInt64, kernels: KernelLevel = .selected
  ) {
    withCodecEnvironment {
      if kernels != .scalar, unsafe scanByKernel(source, dtype, level: kernels, startingAt: index) { return }
      unsafe scanAll(source: source, dtype: dtype, startingAt: index)
    }
  }

  /// Scans by a kernel; false where it found a value that is not finite, whose place the reference is to look for.
  private mutating func scanByKernel(
    _ source: UnsafeRawBufferPointer, _ dtype: DType, level: KernelLevel, startingAt index: UInt64
  ) -> Bool {
    var range = qcodec_range(greatest: 0, least: 0x7F80_0000)
    let count = source.count / (dtype.bitWidth / 8)
    let found = unsafe qcodec_scan(level.rawValue, source.baseAddress, dtype.kernelCode, count, &range)
    let isNegative = found & Int32(qcodec_found_negative) != 0
    guard found & Int32(qcodec_found_nonfinite) == 0 else { return false }
    if isNegative, firstNegative == nil { unsafe findNegative(source, dtype, startingAt: index) }
    greatestMagnitude = max(greatestMagnitude, Float(bitPattern: range.greatest))
    leastNonzeroMagnitude = min(leastNonzeroMagnitude, Float(bitPattern: range.least))
    return true
  }

  /// Takes in a scan of elements that follow in the tensor.
  public mutating func append(_ later: ValueScan) {
    firstNonFinite = firstNonFinite ?? later.firstNonFinite
    firstNegative = firstNegative ?? later.firstNegative
    greatestMagnitude = max(greatestMagnitude, later.greatestMagnitude)
    leastNonzeroMagnitude = min(leastNonzeroMagnitude, later.leastNonzeroMagnitude)
  }

  /// Looks for the first element below zero, of which there is one.
  private mutating func findNegative(_ source: UnsafeRawBufferPointer, _ dtype: DType, startingAt index: UInt64) {
    let size = dtype.bitWidth / 8
    let scratch = SegmentScratch()
    for start in stride(from: 0, to: source.count / size, by: ScalarKernels.segment) where firstNegative == nil {
      let count = min(ScalarKernels.segment, source.count / size - start)
      unsafe ScalarKernels.load(
        source.baseAddress.unsafelyUnwrapped + start * size, dtype: dtype, count: count, into: scratch.x)
      firstNegative = unsafe Self.first(scratch.x, count, index + UInt64(start)) { $0 < 0 }
    }
  }

  private mutating func scanAll(source: UnsafeRawBufferPointer, dtype: DType, startingAt index: UInt64) {
    let size = dtype.bitWidth / 8
    let total = source.count / size
    let scratch = SegmentScratch()
    for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, total - start)
      unsafe ScalarKernels.load(
        source.baseAddress.unsafelyUnwrapped + start * size, dtype: dtype, count: count, into: scratch.x)
      var extreme = ScalarKernels.Extreme()
      unsafe ScalarKernels.scan(scratch.x, count: count, into: &extreme)
      var ends = LogEnds()
      unsafe ScalarKernels.scan(scratch.x, count: count, into: &ends)
      greatestMagnitude = max(greatestMagnitude, Float(bitPattern: ends.greatest))
      if let least = ends.least { leastNonzeroMagnitude = min(leastNonzeroMagnitude, Float(bitPattern: least)) }
      if firstNonFinite == nil, extreme.isNonFinite {
        firstNonFinite = unsafe Self.first(scratch.x, count, index + UInt64(start)) { !$0.isFinite }
      }
      if firstNegative == nil, extreme.isNegative {
        firstNegative = unsafe Self.first(scratch.x, count, index + UInt64(start)) { $0 < 0 }
      }
    }
  }

  private static func first(
    _ x: UnsafePointer<Float>, _ count: Int, _ index: UInt64, where matches: (Float) -> Bool
  ) -> Found? {
    for i in 0..<count where unsafe matches(x[i]) { return unsafe Found(index: index + UInt64(i), value: x[i]) }
    return nil
  }

  /// The error for a value found, naming the tensor, the index and the value.
  public static func nonFinite(_ found: Found, tensor: String) -> QCodecError {
    QCodecError(.nonFiniteValue, "\(found.value) cannot be quantized", tensor: tensor, index: found.index)
  }

  /// The error for a value found, naming the tensor, the index and the value.
  public static func negative(_ found: Found, tensor: String) -> QCodecError {
    QCodecError(
      .negativeValue, "\(found.value) is negative and the map is unsigned", tensor: tensor, index: found.index)
  }
}
