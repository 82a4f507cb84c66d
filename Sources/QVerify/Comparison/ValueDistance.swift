import QCodec

/// How far the values of one tensor are from those of another, or of parts of them, in order.
///
/// Terms are float64, from the values in the tensors' dtypes. Within a chunk of 262,144 elements element i adds to partial sum
/// i mod 16, the sixteen are added as a balanced tree of neighbours, then chunks in order: equal at every thread count.
/// An element that is not finite on either side adds nothing where its bits are the same on both, else its difference is
/// infinite. Squares of f64 beyond 1e154 overflow; a distance may then be NaN.
public struct ValueDistance: Sendable, Equatable {
  /// Σ (a − b)².
  public var squaredDifference = 0.0
  /// Σ a².
  public var squaredA = 0.0
  /// Σ b².
  public var squaredB = 0.0
  /// Σ a·b.
  public var product = 0.0
  /// max |a − b|, in units of the tensor.
  public var maxAbs = 0.0

  /// The distance of nothing.
  public init() {}

  /// √(Σ (a − b)² / Σ a²); 0/0 is 0.
  public var relativeL2: Double {
    withCodecEnvironment { squaredDifference == 0 ? 0 : (squaredDifference / squaredA).squareRoot() }
  }

  /// Σ a·b / √(Σ a² · Σ b²), −1 to 1; nil where either side is zero throughout.
  public var cosine: Double? {
    withCodecEnvironment {
      guard squaredA > 0, squaredB > 0 else { return nil }
      // A root each, for the product of the squares may overflow.
      let value = product / squaredA.squareRoot() / squaredB.squareRoot()
      return value.isNaN ? value : min(1, max(-1, value))
    }
  }

  /// Folds in the distance of what comes next.
  public mutating func append(_ next: ValueDistance) {
    squaredDifference += next.squaredDifference
    squaredA += next.squaredA
    squaredB += next.squaredB
    product += next.product
    maxAbs = max(maxAbs, next.maxAbs)
  }

  /// The distance of one chunk; `areSame` is asked only of elements that are not finite.
  init(_ a: [Double], _ b: [Double], areSame: (Int) -> Bool) {
    var sums = Sums()
    let count = min(a.count, b.count)
    let whole = count / 16 * 16
    // Sixteen at a time, a lane for each partial sum; no operation is fused.
    for start in stride(from: 0, to: whole, by: 16) {
      sums.add(Self.lanes(a, start), Self.lanes(b, start)) { areSame(start + $0) }
    }
    if whole < count {
      // Zeros add nothing.
      var (x, y) = (SIMD16<Double>.zero, SIMD16<Double>.zero)
      for lane in 0..<count - whole { (x[lane], y[lane]) = (a[whole + lane], b[whole + lane]) }
      sums.add(x, y) { areSame(whole + $0) }
    }
    (squaredDifference, squaredA) = (PartialSums(sums.differences).total, PartialSums(sums.ownSquares).total)
    (squaredB, product) = (PartialSums(sums.otherSquares).total, PartialSums(sums.products).total)
    maxAbs = sums.greatest.max()
  }

  private static func lanes(_ values: [Double], _ start: Int) -> SIMD16<Double> {
    precondition(start >= 0 && start + 16 <= values.count)
    // Safe: checked right before.
    return unsafe values.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: start * 8, as: SIMD16<Double>.self) }
  }

  /// The partial sums of a chunk, a lane each.
  private struct Sums {
    var (differences, ownSquares) = (SIMD16<Double>.zero, SIMD16<Double>.zero)
    var (otherSquares, products) = (SIMD16<Double>.zero, SIMD16<Double>.zero)
    var greatest = SIMD16<Double>.zero

    mutating func add(_ a: SIMD16<Double>, _ b: SIMD16<Double>, areSame: (Int) -> Bool) {
      var (x, y) = (a, b)
      // x − x is 0 of what is finite, NaN of all else.
      if any((x - x) .!= 0 .| (y - y) .!= 0) { takeOut(&x, &y, areSame: areSame) }
      let difference = x - y
      differences += difference * difference
      ownSquares += x * x
      otherSquares += y * y
      products += x * y
      greatest = pointwiseMax(greatest, difference.replacing(with: -difference, where: difference .< 0))
    }

    /// Accounts for elements that are not finite, and puts zeros in their place.
    private mutating func takeOut(_ x: inout SIMD16<Double>, _ y: inout SIMD16<Double>, areSame: (Int) -> Bool) {
      for lane in 0..<16 where !x[lane].isFinite || !y[lane].isFinite {
        if !areSame(lane) { (differences[lane], greatest[lane]) = (.infinity, .infinity) }
        (x[lane], y[lane]) = (0, 0)
      }
    }
  }
}
