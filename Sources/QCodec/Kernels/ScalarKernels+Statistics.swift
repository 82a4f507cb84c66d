/// The running statistics of one chunk; element i of the chunk adds to partial sum i mod 16.
struct ChunkStatistics {
  var squaredError = InlineArray<16, Double>(repeating: 0)
  var squaredSource = InlineArray<16, Double>(repeating: 0)
  var maxAbsError = 0.0
  var maxScaledError = 0.0
  var zerosCreated: UInt64 = 0
  var signChanges: UInt64 = 0
  /// max |scale| · R(code), before the dtype's absolute term.
  var scaledRadius = 0.0

  /// The sixteen partial sums as a balanced tree of neighbours.
  private static func tree(_ partial: InlineArray<16, Double>) -> Double {
    var sums = partial
    var count = 16
    while count > 1 {
      count /= 2
      for i in 0..<count { sums[i] = sums[2 * i] + sums[2 * i + 1] }
    }
    return sums[0]
  }

  /// The chunk's statistics; `slack` is the dtype's absolute rounding term τ.
  func finish(slack: Double) -> TensorStatistics {
    var result = TensorStatistics()
    result.squaredError = Self.tree(squaredError)
    result.squaredSource = Self.tree(squaredSource)
    result.maxAbsError = maxAbsError
    result.maxScaledError = maxScaledError
    result.zerosCreated = zerosCreated
    result.signChanges = signChanges
    result.guaranteedMaxAbsError = scaledRadius == 0 ? 0 : (scaledRadius + slack) * (1 + 0x1p-40)
    return result
  }
}

extension ScalarKernels {
  /// Measures a segment that begins on partial sum 0: x the source, values what it decodes to in its dtype.
  static func measure(
    _ x: UnsafePointer<Float>, values: UnsafePointer<Float>, scales: UnsafePointer<Float>,
    codes: UnsafePointer<UInt8>, count: Int, radii: UnsafePointer<Double>, into statistics: inout ChunkStatistics
  ) {
    var (maxAbs, maxScaled, radius) = (statistics.maxAbsError, statistics.maxScaledError, statistics.scaledRadius)
    var (zeros, signs) = (0, 0)
    for i in 0..<count {
      let (source, value) = unsafe (x[i], values[i])
      let scale = unsafe Double(scales[i].magnitude)
      let error = Double(source) - Double(value)
      statistics.squaredError[i & 15] += error * error
      statistics.squaredSource[i & 15] += Double(source) * Double(source)
      maxAbs = max(maxAbs, error.magnitude)
      if scale != 0 {
        maxScaled = max(maxScaled, error.magnitude / scale)
        radius = unsafe max(radius, scale * radii[Int(codes[i])])
      }
      if source != 0 {
        if value == 0 { zeros += 1 } else if (source < 0) != (value < 0) { signs += 1 }
      }
    }
    (statistics.maxAbsError, statistics.maxScaledError, statistics.scaledRadius) = (maxAbs, maxScaled, radius)
    statistics.zerosCreated += UInt64(zeros)
    statistics.signChanges += UInt64(signs)
  }
}
