import CQCodecKernels

/// The sum of squares of what is coded, of elements that are not zero and their number: what a step in units of the root
/// mean square is measured by.
///
/// Of the update domain it is that of m/√v with v as given, for what v decodes to depends on its own step. Equal at every
/// number of threads: terms are float64, sixteen partial sums a chunk as in `PartialSums`, chunks are added in order.
public struct SquareSum: Sendable, Equatable {
  /// Σ x² or Σ u².
  public private(set) var sum: Double = 0
  /// Elements, or quotients, that are not zero.
  public private(set) var count: UInt64 = 0

  /// The sum of nothing.
  public init() {}

  /// Adds the sum of the chunk that follows.
  public mutating func append(_ next: SquareSum) {
    sum += next.sum
    count += next.count
  }

  /// `factor` times the root mean square, rounded to five significant bits, ties to even; 0 where there is nothing but
  /// zeros, infinite where it overflows.
  ///
  /// So few bits, that what was decoded has nearly always the step that it was encoded with: its root mean square differs
  /// by some hundredths of a step.
  public func step(_ factor: Double) -> Double {
    withCodecEnvironment {
      guard count > 0 else { return 0 }
      let step = factor * (sum / Double(count)).squareRoot()
      guard step.isFinite, step > 0 else { return step }
      let bits = step.bitPattern
      let half: UInt64 = 1 << 47
      return Double(bitPattern: (bits + half - 1 + (bits >> 48 & 1)) & ~(half * 2 - 1))
    }
  }

  /// The sum of one chunk, of elements or, with a second moment of equally many elements, of quotients.
  ///
  /// - Parameters:
  ///   - source: the elements.
  ///   - dtype: their type.
  ///   - second: the second moment's elements; nil to sum elements.
  ///   - secondDType: their type.
  ///   - kernels: the instruction set to use; it does not change the result.
  public init(
    of source: UnsafeRawBufferPointer, _ dtype: DType, over second: UnsafeRawBufferPointer? = nil,
    _ secondDType: DType = .f32, kernels: KernelLevel = .selected
  ) {
    self = withCodecEnvironment {
      unsafe Self.sum(Elements(source, dtype), second.map { unsafe Elements($0, secondDType) }, kernels)
    }
  }

  /// Safe: used within one call, whose caller keeps the bytes alive.
  @safe private struct Elements {
    let source: UnsafeRawBufferPointer
    let dtype: DType

    init(_ source: UnsafeRawBufferPointer, _ dtype: DType) { unsafe (self.source, self.dtype) = (source, dtype) }

    var count: Int { unsafe source.count / (dtype.bitWidth / 8) }

    func load(from start: Int, count: Int, _ level: KernelLevel, into x: UnsafeMutablePointer<Float>) {
      let from = unsafe source.baseAddress.unsafelyUnwrapped + start * (dtype.bitWidth / 8)
      guard level != .scalar else { return unsafe ScalarKernels.load(from, dtype: dtype, count: count, into: x) }
      unsafe qcodec_widen(level.rawValue, from, dtype.kernelCode, count, x)
    }
  }

  private static func sum(_ own: Elements, _ second: Elements?, _ level: KernelLevel) -> SquareSum {
    let scratch = SegmentScratch()
    var result = SquareSum()
    var sums = PartialSums()
    for start in stride(from: 0, to: own.count, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, own.count - start)
      unsafe own.load(from: start, count: count, level, into: scratch.x)
      if let second {
        unsafe second.load(from: start, count: count, level, into: scratch.scales)
        if level == .scalar {
          unsafe ScalarKernels.divisors(scratch.scales, count: count)
        } else {
          unsafe qcodec_divisors(level.rawValue, scratch.scales, count)
        }
        unsafe ScalarKernels.divide(scratch.x, by: scratch.scales, count: count, into: scratch.x)
      }
      result.count += unsafe UInt64(nonzeros(scratch.x, count: count))
      unsafe sums.addSquares(scratch.x, count: count, level)
    }
    result.sum = sums.total
    return result
  }

  private static func nonzeros(_ x: UnsafePointer<Float>, count: Int) -> UInt32 {
    var result: UInt32 = 0
    for i in 0..<count { result &+= unsafe x[i] != 0 ? 1 : 0 }
    return result
  }
}

extension PartialSums {
  /// Adds the squares of a segment that begins on partial sum 0.
  fileprivate mutating func addSquares(_ x: UnsafePointer<Float>, count: Int, _ level: KernelLevel) {
    guard level != .scalar else {
      for i in 0..<count {
        let value = unsafe Double(x[i])
        add(value * value, at: i)
      }
      return
    }
    unsafe withSums { sums in unsafe qcodec_squares(level.rawValue, x, Int32(qcodec_dtype_f32), count, sums) }
  }
}
