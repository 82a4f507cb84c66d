import CQCodecKernels

/// What coding a pair of moments does to the Adam update u = m / (√v + ε).
///
/// An error of v alone says little of it: where v decodes to 0, the update explodes. Root, sum and division are float64,
/// from the values in the tensors' dtypes; no bias correction.
public struct UpdateError: Sendable, Equatable {
  /// ε of the update.
  public let epsilon: Double
  /// Σ (u − û)².
  public var squaredError: Double = 0
  /// Σ u².
  public var squaredUpdate: Double = 0
  /// max |u − û|; an update that is not finite counts as infinitely wrong.
  public var maxAbsError: Double = 0
  /// Non-zero second moments that decode to zero.
  public var zeroedSecondMoments: UInt64 = 0
  /// Non-zero first moments that decode to a value of the other sign.
  public var signChanges: UInt64 = 0

  /// Creates the error of an exact coding.
  public init(epsilon: Double) { self.epsilon = epsilon }

  /// Whether all of it is finite.
  package var isFinite: Bool { squaredError.isFinite && squaredUpdate.isFinite && maxAbsError.isFinite }

  /// √(Σ (u − û)² / Σ u²); 0/0 is 0.
  public var relativeL2Error: Double {
    withCodecEnvironment { squaredError == 0 ? 0 : (squaredError / squaredUpdate).squareRoot() }
  }

  /// Folds in the error of what comes next.
  public mutating func append(_ next: UpdateError) {
    squaredError += next.squaredError
    squaredUpdate += next.squaredUpdate
    maxAbsError = max(maxAbsError, next.maxAbsError)
    zeroedSecondMoments += next.zeroedSecondMoments
    signChanges += next.signChanges
  }

  /// The error of one chunk: the moments as given and as they decode, in their dtypes, widened to float64.
  ///
  /// Element i adds to partial sum i mod 16, the sixteen are added as a balanced tree of neighbours.
  public init(epsilon: Double, count: Int, values: (Int) -> (m: Double, v: Double, m̂: Double, v̂: Double)) {
    self.epsilon = epsilon
    var (errors, updates) = (PartialSums(), PartialSums())
    for i in 0..<count {
      let (m, v, decodedM, decodedV) = values(i)
      let exact = m / (v.squareRoot() + epsilon)
      let decoded = decodedM / (decodedV.squareRoot() + epsilon)
      // 0/0, where ε is 0 and both moments are: nothing moves.
      let u = m == 0 && v == 0 ? 0 : exact
      let û = decodedM == 0 && decodedV == 0 ? 0 : decoded
      let error = (u - û).magnitude
      errors.add(error * error, at: i)
      updates.add(u * u, at: i)
      maxAbsError = max(maxAbsError, error.isNaN ? .infinity : error)
      if v != 0, decodedV == 0 { zeroedSecondMoments += 1 }
      if m != 0, decodedM != 0, (m < 0) != (decodedM < 0) { signChanges += 1 }
    }
    squaredError = errors.total
    squaredUpdate = updates.total
  }
}

extension UpdateError {
  /// What kernels measured of one chunk.
  init(epsilon: Double, _ kernels: qcodec_update_error) {
    self.init(epsilon: epsilon)
    squaredError = PartialSums(kernels.squared_error).total
    squaredUpdate = PartialSums(kernels.squared_update).total
    maxAbsError = kernels.max_abs_error
    zeroedSecondMoments = kernels.zeroed
    signChanges = kernels.sign_changes
  }
}

/// Sixteen float64 sums, each in order, added as a balanced tree of neighbours: equal however many lanes add at a time.
package struct PartialSums {
  private var sums = InlineArray<16, Double>(repeating: 0)

  package init() {}

  /// The sums that a kernel took.
  init(
    _ lanes: (
      Double, Double, Double, Double, Double, Double, Double, Double, Double, Double, Double, Double, Double, Double,
      Double, Double
    )
  ) {
    sums = [
      lanes.0, lanes.1, lanes.2, lanes.3, lanes.4, lanes.5, lanes.6, lanes.7, lanes.8, lanes.9, lanes.10, lanes.11,
      lanes.12, lanes.13, lanes.14, lanes.15,
    ]
  }

  package mutating func add(_ term: Double, at index: Int) { sums[index & 15] += term }

  /// Calls `body` with the sixteen sums, for a kernel to add to.
  mutating func withSums(_ body: (UnsafeMutablePointer<Double>) -> Void) {
    var span = sums.mutableSpan
    unsafe span.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress.unsafelyUnwrapped) }
  }

  package var total: Double {
    var sums = sums
    var count = 16
    while count > 1 {
      count /= 2
      for i in 0..<count { sums[i] = sums[2 * i] + sums[2 * i + 1] }
    }
    return sums[0]
  }
}
