import CQCodecKernels
import QCodec

/// A factored second moment as a step uses it: element (i, j) is `rows[i] · columns[j]`.
struct Factors: Sendable {
  let rows: [Float]
  /// Over the mean of the rows' factors, so that no product of two squares is taken, which float32 might not hold.
  let columns: [Float]

  /// The second moment of elements, C order.
  func values(_ elements: Range<Int>) -> [Float] {
    elements.map { rows[$0 / columns.count] * columns[$0 % columns.count] }
  }
}

extension OptimizerTensor {
  /// Moves the factors of the second moment on; returns them as the step uses them.
  ///
  /// A row's factor is the moving average of the mean of its squared gradients, a column's likewise. Means are taken in
  /// float64, of bands of rows whose number does not depend on that of threads.
  func movedFactors(
    _ shape: FactoredShape, _ step: qcodec_step, level: KernelLevel, threads: Int
  ) throws(QCodecError) -> Factors {
    // Bands of many rows, for each has sums of its own for all columns.
    let band = max(64, TensorLayout.chunkElements / shape.columns)
    let bands = (shape.rows + band - 1) / band
    let slots = ResultSlots<SquaredGradients>(count: bands)
    try parallelFor(count: bands, threads: threads) { index throws(QCodecError) in
      let rows = index * band..<min(shape.rows, (index + 1) * band)
      slots[index] = squaredGradients(rows: rows, columns: shape.columns, step, level: level)
    }
    var sums = SquaredGradients(rows: [], columns: [Double](repeating: 0, count: shape.columns))
    for found in slots.inOrder {
      sums.rows += found.rows
      for column in found.columns.indices { sums.columns[column] += found.columns[column] }
    }
    let factors = floats(ofMoment: 1)
    let rows = Self.averages(factors[..<shape.rows], sums.rows, over: shape.columns, step)
    let columns = Self.averages(factors[shape.rows...], sums.columns, over: shape.rows, step)
    store(floats: rows + columns, ofMoment: 1)
    let mean = rows.reduce(into: 0.0) { $0 += Double($1) } / Double(shape.rows)
    return Factors(rows: rows, columns: columns.map { mean > 0 ? Float(Double($0) / mean) : 0 })
  }

  private static func averages(
    _ factors: ArraySlice<Float>, _ sums: [Double], over count: Int, _ step: qcodec_step
  ) -> [Float] {
    zip(factors, sums).map { factor, sum in
      Float(Double(factor) * Double(step.beta2) + sum / Double(count) * Double(step.rest2))
    }
  }

  /// Refuses factors that no step leaves behind.
  func checkFactors() throws(QCodecError) {
    let factors = floats(ofMoment: 1)
    guard let wrong = factors.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) else { return }
    throw QCodecError(.invalidScale, "factor \(wrong) of the second moment is \(factors[wrong])", tensor: name)
  }

  // MARK: Sums

  /// Sums of squared gradients of rows, and of columns over these rows.
  private struct SquaredGradients {
    var rows: [Double]
    var columns: [Double]
  }

  private func squaredGradients(
    rows: Range<Int>, columns: Int, _ step: qcodec_step, level: KernelLevel
  ) -> SquaredGradients {
    var sums = SquaredGradients(
      rows: [Double](repeating: 0, count: rows.count), columns: [Double](repeating: 0, count: columns))
    let elements = rows.lowerBound * columns..<rows.upperBound * columns
    if level == .scalar {
      withCodecEnvironment { addSquares(of: elements, to: &sums, step) }
      return sums
    }
    var (own, step) = (unsafe qcodec_tensor_step(), step)
    unsafe own.parameters = parameterBytes(elements).baseAddress
    unsafe own.gradients = gradientBytes(elements).baseAddress
    unsafe own.parameter_dtype = parameterDType.kernelCode
    unsafe own.gradient_dtype = gradientDType.kernelCode
    unsafe sums.rows.withUnsafeMutableBufferPointer { rows in
      unsafe sums.columns.withUnsafeMutableBufferPointer { columns in
        withCodecEnvironment {
          unsafe qcodec_factor_squares(
            level.rawValue, &step, &own, 0, rows.count, columns.count, rows.baseAddress, columns.baseAddress)
        }
      }
    }
    return sums
  }

  private func addSquares(of elements: Range<Int>, to sums: inout SquaredGradients, _ step: qcodec_step) {
    let parameters = unsafe parameterDType.floats(UnsafeRawBufferPointer(parameterBytes(elements)))
    let gradients = unsafe gradientDType.floats(gradientBytes(elements))
    let columns = sums.columns.count
    for row in sums.rows.indices {
      var own = SquareSums()
      for column in 0..<columns {
        let element = row * columns + column
        let gradient = gradients[element] * step.gradient_factor + parameters[element] * step.coupled_decay
        let square = Double(gradient) * Double(gradient)
        own.add(square: square, at: column)
        sums.columns[column] += square
      }
      sums.rows[row] = own.total
    }
  }
}
