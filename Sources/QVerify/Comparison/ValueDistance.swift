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
    var (differences, ownSquares, otherSquares) = (PartialSums(), PartialSums(), PartialSums())
    var products = PartialSums()
    for index in 0..<min(a.count, b.count) {
      let (x, y) = (a[index], b[index])
      guard x.isFinite, y.isFinite else {
        if !areSame(index) {
          maxAbs = .infinity
          differences.add(.infinity, at: index)
        }
        continue
      }
      let difference = x - y
      maxAbs = max(maxAbs, difference.magnitude)
      differences.add(difference * difference, at: index)
      ownSquares.add(x * x, at: index)
      otherSquares.add(y * y, at: index)
      products.add(x * y, at: index)
    }
    (squaredDifference, squaredA, squaredB) = (differences.total, ownSquares.total, otherSquares.total)
    product = products.total
  }
}
