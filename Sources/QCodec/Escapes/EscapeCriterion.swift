/// What the elements of a chunk are held to.
///
/// Generic code is made for each of these: a closure would be called, and its captures counted, for every element.
protocol EscapeCriterion {
  /// Whether a value may stand for an element.
  ///
  /// - Parameter reach: what an escape of the value admits of |x − x̂|.
  func holds(_ element: Int, _ decoded: Double, reach: Double) -> Bool
}

/// A bound of each element by itself.
struct ElementCriterion: EscapeCriterion {
  let values: [Float]
  let bound: ElementBound

  @inline(__always)
  func holds(_ element: Int, _ decoded: Double, reach: Double) -> Bool {
    // An absolute bound is one that the file certifies by itself.
    if case .absolute(let limit) = bound, reach > limit { return false }
    return bound.holds(Double(values[element]), decoded)
  }
}

/// The share of an update's error that coding the second moment alone may take.
struct SecondMomentCriterion: EscapeCriterion {
  let first: [Float]
  let second: [Float]
  let bound: UpdateBound
  private let share: Double

  init(first: [Float], second: [Float], bound: UpdateBound) {
    (self.first, self.second, self.bound) = (first, second, bound)
    share = bound.limit * bound.secondShare
  }

  @inline(__always)
  func holds(_ element: Int, _ decoded: Double, reach: Double) -> Bool {
    let own = Double(first[element])
    return (bound.update(own, Double(second[element])) - bound.update(own, decoded)).magnitude <= share
  }
}

/// An update's error, the second moment being what it decodes to.
struct FirstMomentCriterion: EscapeCriterion {
  let first: [Float]
  let second: [Float]
  let decodedSecond: [Float]
  let bound: UpdateBound

  @inline(__always)
  func holds(_ element: Int, _ decoded: Double, reach: Double) -> Bool {
    let exact = bound.update(Double(first[element]), Double(second[element]))
    return (exact - bound.update(decoded, Double(decodedSecond[element]))).magnitude <= bound.limit
  }
}
