/// A scale vector seen as kernels see it: elements lie in rows, and an element's scale is the lesser of its row's and
/// its column's, where both have one.
///
/// Rows are those of the last axis, or of several trailing axes together where these are short (a convolution's
/// kernel): then a column's scale is the least of several entries.
struct ScaleRows: Sendable {
  /// Elements of a row.
  let length: UInt64
  /// The axes whose entry is the same all along a row.
  private let outer: [ScaleField.Axis]
  /// The axes whose entry changes within a row, the same way in every row.
  private let inner: [ScaleField.Axis]

  /// Rows of `rowLength` elements under axes, first varying slowest.
  init(axes: [ScaleField.Axis], rowLength: UInt64) {
    length = rowLength
    outer = axes.filter { $0.stride >= rowLength }
    inner = axes.filter { $0.stride < rowLength }
  }

  /// Whether rows have scales, and columns.
  var haveRows: Bool { !outer.isEmpty }
  var haveColumns: Bool { !inner.isEmpty }

  /// Where in the scale vector the columns' scales lie as they are; nil where they are made of several axes.
  var columnEntries: Range<Int>? {
    guard inner.count == 1, inner[0].stride == 1 else { return nil }
    return inner[0].offset..<inner[0].offset + Int(length)
  }

  /// The scale of each column; none where columns have none.
  func columns(of vector: [Float]) -> [Float] {
    if let columnEntries { return Array(vector[columnEntries]) }
    guard haveColumns else { return [] }
    return (0..<length).map { element in inner.reduce(.infinity) { min($0, vector[$1.entry(of: element)]) } }
  }

  /// The rows that hold some of `count` elements from `first` on.
  func rows(from first: UInt64, count: Int) -> Range<UInt64> {
    first / length..<(first + UInt64(count) - 1) / length + 1
  }

  /// The scale of each of these rows; none where rows have none.
  func scales(ofRows rows: Range<UInt64>, vector: [Float]) -> [Float] {
    guard haveRows else { return [] }
    return rows.map { row in outer.reduce(.infinity) { min($0, vector[$1.entry(of: row * length)]) } }
  }

  /// Takes extremes of rows from `first` on into those of the scale vector.
  func take(rows values: [Float], from first: UInt64, into extremes: inout [Float]) {
    for (index, value) in values.enumerated() {
      for axis in outer { Self.take(value, into: &extremes[axis.entry(of: (first + UInt64(index)) * length)]) }
    }
  }

  /// Takes extremes of columns into those of the scale vector.
  func take(columns values: [Float], into extremes: inout [Float]) {
    for (column, value) in values.enumerated() {
      for axis in inner { Self.take(value, into: &extremes[axis.entry(of: UInt64(column))]) }
    }
  }

  /// The first among equals stays.
  private static func take(_ value: Float, into extreme: inout Float) {
    if value.magnitude > extreme.magnitude { extreme = value }
  }
}
