/// The first pass over a tensor whose scales span chunks: tensor, row, column and rank1 scaling.
///
/// Chunks are given once each, in order; the result is the scale vector. One pass over the source, O(elements × axes).
public final class ScalePass {
  private let layout: TensorLayout
  private let field: ScaleField
  private let scratch = SegmentScratch()
  /// The extreme so far, with its sign, for each entry of the scale vector.
  private var extremes: [Float]

  /// A pass over a tensor of this layout.
  public init(layout: TensorLayout) {
    self.layout = layout
    field = ScaleField(layout: layout)
    extremes = [Float](repeating: 0, count: layout.scaleCount)
  }

  /// Whether the layout has a scale vector, so that the pass is needed at all.
  public static func isNeeded(for layout: TensorLayout) -> Bool { layout.scaleCount > 0 }

  /// Takes in one chunk; throws `shapeMismatch` where `source` is not exactly the chunk's elements.
  public func accumulate(chunk index: Int, source: UnsafeRawBufferPointer) throws(QCodecError) {
    guard source.count == layout.sourceByteCount(ofChunk: index) else {
      throw QCodecError(.shapeMismatch, "chunk \(index) was given \(source.count) bytes")
    }
    let first = layout.elements(ofChunk: index).lowerBound
    let total = source.count / layout.elementSize
    withCodecEnvironment { unsafe accumulate(source, first: first, total: total) }
  }

  private func accumulate(_ source: UnsafeRawBufferPointer, first: UInt64, total: Int) {
    unsafe extremes.withUnsafeMutableBufferPointer { extremes in
      for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, total - start)
        unsafe ScalarKernels.load(
          source.baseAddress.unsafelyUnwrapped + start * layout.elementSize, dtype: layout.dtype, count: count,
          into: scratch.x)
        field.forEachRun(from: first + UInt64(start), count: count) { entry, offset, length, step in
          unsafe Self.take(
            scratch.x + offset, count: length, into: extremes.baseAddress.unsafelyUnwrapped + entry, step: step)
        }
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

  /// The scale vector: the extremes under their rule, signed or as magnitudes.
  public func finish() -> [Float] {
    layout.scheme.scaleRule == .signedExtreme ? extremes : extremes.map(\.magnitude)
  }
}
