/// The first pass over a tensor whose scales span chunks: tensor, row, column and rank1 scaling.
///
/// Chunks are given once each, in order; the result is the scale vector. One pass over the source, O(elements × axes).
public final class ScalePass: @unchecked Sendable {
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

  /// Takes in what a pass over later chunks of the same tensor found.
  public func merge(_ later: ScalePass) {
    for i in extremes.indices where later.extremes[i].magnitude > extremes[i].magnitude {
      extremes[i] = later.extremes[i]
    }
  }

  /// The scale vector: each extreme under the scheme's rule.
  public func finish() -> [Float] { extremes.map { Self.scale($0, scheme: layout.scheme) } }

  /// The scale that an extreme makes: with its sign or as a magnitude, in the update domain rounded to 16 bits.
  static func scale(_ extreme: Float, scheme: Scheme) -> Float {
    let scale = scheme.scaleRule == .signedExtreme ? extreme : extreme.magnitude
    return scheme.domain == .update ? ScalarKernels.rounded(scale: scale) : scale
  }
}
