import CQCodecKernels

/// The first pass over a tensor whose scales span chunks: tensor, row, column and rank1 scaling.
///
/// Chunks are given once each, in order; the result is the scale vector. One pass over the source, O(elements × axes).
/// Several threads make a pass each over chunks that follow one another; passes are then merged in the chunks' order,
/// which gives what one pass over all of them would. Chunks that hold NaN or infinities make the vector meaningless.
///
/// Sendable so that a thread can make a pass and hand it over; two at a time must not use one.
public final class ScalePass: @unchecked Sendable {
  private let layout: TensorLayout
  private let field: ScaleField
  private let scratch = SegmentScratch()
  /// The extreme so far for each entry of the scale vector, with its sign where the scale rule asks for it.
  private var extremes: [Float]
  private let level: KernelLevel
  /// How kernels see the vector.
  private let rows: ScaleRows?
  /// The extreme so far of each column; without columns empty.
  private var columns: [Float] = []

  /// A pass over a tensor of this layout.
  ///
  /// - Parameter kernels: the instruction set to use; it does not change the result.
  public init(layout: TensorLayout, kernels: KernelLevel = .selected) {
    self.layout = layout
    field = ScaleField(layout: layout)
    extremes = [Float](repeating: 0, count: layout.scaleCount)
    level = kernels
    rows = layout.elementCount == 0 || kernels == .scalar ? nil : field.rows(of: layout)
    if let rows, rows.haveColumns { columns = [Float](repeating: 0, count: Int(rows.length)) }
  }

  /// Whether the layout has a scale vector, so that the pass is needed at all.
  public static func isNeeded(for layout: TensorLayout) -> Bool { layout.scaleCount > 0 }

  /// Takes in one chunk; throws `shapeMismatch` where `source` is not exactly the chunk's elements.
  ///
  /// - Parameter divisors: in the update domain what each element is divided by; empty in the value domain.
  public func accumulate(
    chunk index: Int, source: UnsafeRawBufferPointer, divisors: [Float] = []
  ) throws(QCodecError) {
    let total = source.count / layout.elementSize
    guard source.count == layout.sourceByteCount(ofChunk: index),
      divisors.count == (layout.scheme.domain == .update ? total : 0)
    else { throw QCodecError(.shapeMismatch, "chunk \(index) was given \(source.count) bytes") }
    let first = layout.elements(ofChunk: index).lowerBound
    withCodecEnvironment {
      if let rows, total > 0 { return unsafe accumulate(source, divisors, first: first, rows: rows) }
      for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, total - start)
        unsafe ScalarKernels.load(
          source.baseAddress.unsafelyUnwrapped + start * layout.elementSize, dtype: layout.dtype, count: count,
          into: scratch.x)
        if !divisors.isEmpty {
          unsafe divisors.withUnsafeBufferPointer { divisors in
            unsafe ScalarKernels.divide(
              scratch.x, by: divisors.baseAddress.unsafelyUnwrapped + start, count: count, into: scratch.x)
          }
        }
        take(first + UInt64(start), count: count)
      }
    }
  }

  /// Takes in a chunk by kernels.
  private func accumulate(_ source: UnsafeRawBufferPointer, _ divisors: [Float], first: UInt64, rows: ScaleRows) {
    let elements = unsafe source.baseAddress.unsafelyUnwrapped
    let total = source.count / layout.elementSize
    guard !divisors.isEmpty else {
      return unsafe take(elements, dtype: layout.dtype.kernelCode, first: first, count: total, rows: rows)
    }
    for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, total - start)
      let from = unsafe elements + start * layout.elementSize
      unsafe qcodec_widen(level.rawValue, from, layout.dtype.kernelCode, count, scratch.x)
      unsafe divisors.withUnsafeBufferPointer { divisors in
        let divisors = unsafe divisors.baseAddress.unsafelyUnwrapped + start
        // What is not finite here the encoder meets again and refuses.
        unsafe ScalarKernels.divide(scratch.x, by: divisors, count: count, into: scratch.quotients)
      }
      unsafe take(
        scratch.quotients, dtype: Int32(qcodec_dtype_f32), first: first + UInt64(start), count: count, rows: rows)
    }
  }

  private func take(_ x: UnsafeRawPointer, dtype: Int32, first: UInt64, count: Int, rows: ScaleRows) {
    let rule = layout.scheme.scaleRule == .signedExtreme ? qcodec_rule_signed : qcodec_rule_magnitude
    let held = rows.rows(from: first, count: count)
    var own = [Float](repeating: 0, count: rows.haveRows ? held.count : 0)
    unsafe own.withUnsafeMutableBufferPointer { own in
      unsafe columns.withUnsafeMutableBufferPointer { columns in
        unsafe qcodec_extremes(
          level.rawValue, x, dtype, Int(first % rows.length), count, Int(rows.length), Int32(rule),
          own.isEmpty ? nil : own.baseAddress, columns.isEmpty ? nil : columns.baseAddress)
      }
    }
    rows.take(rows: own, from: held.lowerBound, into: &extremes)
  }

  private func take(_ first: UInt64, count: Int) {
    unsafe extremes.withUnsafeMutableBufferPointer { extremes in
      field.forEachRun(from: first, count: count) { entry, offset, length, step in
        unsafe Self.take(
          scratch.x + offset, count: length, into: extremes.baseAddress.unsafelyUnwrapped + entry, step: step)
      }
    }
  }

  private static func take(
    _ x: UnsafePointer<Float>, count: Int, into extremes: UnsafeMutablePointer<Float>, step: Int
  ) {
    if step == 0 {
      var extreme = unsafe extremes[0]
      for i in 0..<count where unsafe x[i].magnitude > extreme.magnitude { extreme = unsafe x[i] }
      unsafe extremes[0] = extreme
    } else {
      for i in 0..<count where unsafe x[i].magnitude > extremes[i].magnitude { unsafe extremes[i] = x[i] }
    }
  }

  /// Takes in what a pass over later chunks of the same tensor found; exact, with the first among equals.
  ///
  /// Both passes use the same kernels. Complexity: that of the scale vector.
  public func merge(_ later: ScalePass) {
    precondition(later.columns.count == columns.count, "passes over different layouts, or with different kernels")
    Self.merge(later.extremes, into: &extremes)
    Self.merge(later.columns, into: &columns)
  }

  private static func merge(_ later: [Float], into extremes: inout [Float]) {
    for i in extremes.indices where later[i].magnitude > extremes[i].magnitude { extremes[i] = later[i] }
  }

  /// The scale vector: each extreme under the scheme's rule, and what a step makes of that.
  public func finish(step: EncodingStep = .none) -> [Float] {
    var extremes = extremes
    rows?.take(columns: columns, into: &extremes)
    return extremes.map { step.applied(to: Self.scale($0, scheme: layout.scheme)) }
  }

  /// The scale that an extreme makes: with its sign or as a magnitude, in the update domain rounded to 16 bits.
  static func scale(_ extreme: Float, scheme: Scheme) -> Float {
    let scale = scheme.scaleRule == .signedExtreme ? extreme : extreme.magnitude
    return scheme.domain == .update ? ScalarKernels.rounded(scale: scale) : scale
  }
}
