import CQCodecKernels

/// The running statistics of one chunk; element i of the chunk adds to partial sum i mod 16.
struct ChunkStatistics {
  private var squaredError = PartialSums()
  private var squaredSource = PartialSums()
  private var maxAbsError = 0.0
  private var maxScaledError = 0.0
  private var zerosCreated: UInt64 = 0
  private var signChanges: UInt64 = 0
  /// max |scale| · R(code), before the dtype's absolute term; value domain.
  private var scaledRadius = 0.0
  /// The bounds of the update domain and of the `log` map, complete but for the last factor.
  private var absoluteBound = 0.0
  private var relativeBound = 0.0

  init() {}

  /// The statistics that kernels took of a chunk.
  init(_ kernels: qcodec_statistics) {
    unsafe squaredError = PartialSums(kernels.squared_error)
    unsafe squaredSource = PartialSums(kernels.squared_source)
    unsafe (maxAbsError, maxScaledError) = (kernels.max_abs_error, kernels.max_scaled_error)
    unsafe (zerosCreated, signChanges) = (kernels.zeros_created, kernels.sign_changes)
    unsafe scaledRadius = kernels.scaled_radius
    unsafe (absoluteBound, relativeBound) = (kernels.absolute_bound, kernels.relative_bound)
  }

  /// Measures a segment that begins on partial sum 0: x the source, values what it decodes to in its dtype.
  mutating func measureErrors(_ x: UnsafePointer<Float>, values: UnsafePointer<Float>, count: Int) {
    var greatest = maxAbsError
    var (zeros, signs) = (0, 0)
    for i in 0..<count {
      let (source, value) = unsafe (x[i], values[i])
      let error = Double(source) - Double(value)
      squaredError.add(error * error, at: i)
      squaredSource.add(Double(source) * Double(source), at: i)
      greatest = max(greatest, error.magnitude)
      if source != 0 {
        if value == 0 { zeros += 1 } else if (source < 0) != (value < 0) { signs += 1 }
      }
    }
    maxAbsError = greatest
    zerosCreated += UInt64(zeros)
    signChanges += UInt64(signs)
  }

  /// Takes in errors relative to scales, of values or of quotients.
  mutating func measureScaled(
    _ x: UnsafePointer<Float>, values: UnsafePointer<Float>, scales: UnsafePointer<Float>, count: Int
  ) {
    var greatest = maxScaledError
    for i in 0..<count where unsafe scales[i] != 0 {
      let error = unsafe (Double(x[i]) - Double(values[i])).magnitude
      greatest = unsafe max(greatest, error / Double(scales[i].magnitude))
    }
    maxScaledError = greatest
  }

  /// Takes in what codes and scales admit in the value domain.
  mutating func bound(_ codes: UnsafePointer<UInt8>, scales: UnsafePointer<Float>, count: Int, radii: CellRadii) {
    var greatest = scaledRadius
    unsafe radii.radii.withUnsafeBufferPointer { radii in
      for i in 0..<count { greatest = unsafe max(greatest, Double(scales[i].magnitude) * radii[Int(codes[i])]) }
    }
    scaledRadius = greatest
  }

  /// Takes in what codes, scales and divisors admit in the update domain.
  mutating func bound(_ bounds: UpdateBounds, slack: Double) {
    (absoluteBound, relativeBound) = bounds.finish(slack: slack)
  }

  /// Takes in what the ends of a `log` block admit, and the least and the greatest code of what is not zero: nil where these
  /// are the ends'.
  mutating func bound(
    _ block: LogBlock, codes: ClosedRange<UInt8>?, rounding: Scheme.Rounding, dtype: DType
  ) {
    guard block.base > 0 else { return }
    let (delta, slack) = (CellRadii.relativeRounding(dtype), CellRadii.narrowing(dtype))
    let top = block.top(codes.map { block.pattern(code: $0.upperBound) } ?? block.high.bitPattern, rounding)
    // Without a code for zeros the ends are the block's own, and code 0 is that of its least element.
    let least = codes.flatMap { block.first == 0 ? nil : block.pattern(code: $0.lowerBound) } ?? block.base
    let bottom = block.bottom(least, rounding)
    let (absolute, relative) = (block.absoluteBound(top: top, rounding), block.relativeBound(bottom: bottom, rounding))
    absoluteBound = max(absoluteBound, absolute + delta * Double(Float(bitPattern: top)) + slack)
    relativeBound = max(relativeBound, relative + delta * (1 + relative) + slack / Double(Float(bitPattern: bottom)))
  }

  /// The chunk's statistics; `slack` is the dtype's absolute rounding term τ.
  func finish(slack: Double) -> TensorStatistics {
    var result = TensorStatistics()
    result.squaredError = squaredError.total
    result.squaredSource = squaredSource.total
    result.maxAbsError = maxAbsError
    result.maxScaledError = maxScaledError
    result.zerosCreated = zerosCreated
    result.signChanges = signChanges
    let scaled = scaledRadius == 0 ? 0 : (scaledRadius + slack) * CellRadii.factor
    result.guaranteedMaxAbsError = max(scaled, absoluteBound * CellRadii.factor)
    result.guaranteedMaxRelError = relativeBound * CellRadii.factor
    return result
  }
}
