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
  /// The least magnitude of what is not zero; infinite where there is nothing but zeros.
  public private(set) var least = Float.infinity

  /// The sum of nothing.
  public init() {}

  /// Adds the sum of the chunk that follows.
  public mutating func append(_ next: SquareSum) {
    sum += next.sum
    count += next.count
    least = min(least, next.least)
  }

  /// `factor` times the root mean square, rounded to five significant bits, ties to even; 0 where there is nothing but
  /// zeros, infinite where it overflows.
  ///
  /// So few bits, that all multiples of it by codes are floats, and few numbers need be tried to find it in what was
  /// decoded.
  public func step(_ factor: Double) -> Double {
    withCodecEnvironment {
      count == 0 ? 0 : Self.fiveBits(factor * (sum / Double(count)).squareRoot())
    }
  }

  /// The steps that what is coded may have by an earlier encoding with `factor`, the greatest first.
  ///
  /// A decoded tensor has another root mean square than the one that was encoded: zeros do not count, and with coarse steps
  /// most elements become zeros. Its step is no greater than its least element that is not zero, and, an error of half a
  /// step everywhere, at least `factor` · 7/8 · √Σx² / (√`elements` + `factor`/2 · √`count`), where eight bits code sets of 256
  /// elements or fewer. Most tensors that were not decoded have none: their least elements are smaller. At most 150.
  ///
  /// - Parameters:
  ///   - factor: in units of the root mean square.
  ///   - elements: all elements, zeros too.
  ///   - scheme: of the `linear` map.
  public func formerSteps(_ factor: Double, of elements: UInt64, scheme: Scheme) -> [Double] {
    withCodecEnvironment {
      guard count > 0, sum.isFinite, least.isFinite else { return [] }
      let spread = Double(elements).squareRoot() + factor / 2 * Double(count).squareRoot()
      let lowest = max(factor * 0.875 * sum.squareRoot() / spread, Double(least) / Double(2 * scheme.linearSteps))
      return sequence(first: Self.fiveBits(Double(least))) { Double(bitPattern: $0.bitPattern - 1 << 48) }
        .prefix { $0 >= lowest }
    }
  }

  /// Rounded to five significant bits, ties to even.
  private static func fiveBits(_ value: Double) -> Double {
    guard value.isFinite, value > 0 else { return value }
    let bits = value.bitPattern
    let half: UInt64 = 1 << 47
    return Double(bitPattern: (bits + half - 1 + (bits >> 48 & 1)) & ~(half * 2 - 1))
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
      unsafe result.note(scratch.x, count: count)
      unsafe sums.addSquares(scratch.x, count: count, level)
    }
    result.sum = sums.total
    return result
  }

  /// Counts what is not zero, and notes the least of it.
  private mutating func note(_ x: UnsafePointer<Float>, count: Int) {
    var (nonzeros, least): (UInt32, UInt32) = (0, .max)
    for i in 0..<count {
      let pattern = unsafe x[i].bitPattern & 0x7FFF_FFFF
      nonzeros &+= pattern != 0 ? 1 : 0
      // Zero becomes the greatest pattern.
      least = min(least, pattern &- 1)
    }
    self.count += UInt64(nonzeros)
    if nonzeros > 0 { self.least = min(self.least, Float(bitPattern: least &+ 1)) }
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
