import QCodec

/// A tensor as a matrix whose second moment is the product of a row's and a column's factor, as Adafactor keeps it (Shazeer
/// and Stern, arXiv:1804.04235) and the 4-bit Factor of *Memory Efficient Optimizers with 4-bit States*.
///
/// Rows are the leading axes and columns the trailing ones, cut where there are fewest of both together. For a matrix that
/// is what PyTorch's Adafactor does, which factors the last two axes of any tensor: of a convolution's kernel it keeps
/// two thirds in float32, this a few percent.
public struct FactoredShape: Sendable, Hashable {
  /// The product of the leading axes' lengths.
  public let rows: Int
  /// The product of the trailing axes' lengths.
  public let columns: Int

  /// The matrix of a shape; nil where there is one row or one column, whose factors would be no fewer than its elements.
  public init?(shape: [UInt64]) {
    guard let count = try? TensorLayout.elementCount(of: shape), count > 0, count < 1 << 60 else { return nil }
    let lengths = shape.map(Int.init)
    let cuts = lengths.indices.dropFirst().map { cut in
      (rows: lengths[..<cut].reduce(1, *), columns: lengths[cut...].reduce(1, *))
    }
    guard let best = cuts.min(by: { $0.rows + $0.columns < $1.rows + $1.columns }), best.rows > 1, best.columns > 1
    else { return nil }
    (rows, columns) = best
  }

  /// The factors of all rows, then those of all columns, float32.
  public var byteCount: Int { 4 * (rows + columns) }
}
