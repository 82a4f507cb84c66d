/// The scale of every element of a tensor: the scale vector, or a chunk's block scales, spread over elements.
struct ScaleField: Sendable {
  private enum Kind {
    case tensor
    /// Block scales of the chunk; elements count from the chunk's first.
    case block(shift: UInt64)
    /// One index for each run of `stride` elements.
    case row(stride: UInt64)
    case column(length: UInt64)
    /// The axes of more than one index, the first varying slowest.
    case rank1([Axis])
  }

  /// An axis that carries scales.
  struct Axis: Sendable {
    let length: UInt64
    /// Elements between neighbours along the axis.
    let stride: UInt64
    /// Where its maxima begin in the scale vector.
    let offset: Int

    /// The entry of the scale vector that an element refers to.
    func entry(of element: UInt64) -> Int { offset + Int(element / stride % length) }
  }

  private let kind: Kind

  /// The field of a layout whose scale vector or block scales are given to `fill`.
  init(layout: TensorLayout) {
    let shape = layout.shape
    switch layout.scheme.scaling {
    case .tensor: kind = .tensor
    case .block(let size): kind = .block(shift: UInt64(size.trailingZeroBitCount))
    case .row: kind = .row(stride: shape[0] == 0 ? 0 : layout.elementCount / shape[0])
    case .column: kind = .column(length: shape[shape.count - 1])
    case .rank1: kind = .rank1(Self.axes(of: TensorLayout.rank1Axes(of: shape), elements: layout.elementCount))
    }
  }

  private static func axes(of lengths: [UInt64], elements: UInt64) -> [Axis] {
    guard elements > 0 else { return [] }
    var offset = 0
    var stride = elements
    return lengths.map { length in
      stride /= length
      defer { offset += Int(length) }
      return Axis(length: length, stride: stride, offset: offset)
    }
  }

  /// Writes the scales of `count` elements from `first` on.
  ///
  /// - Parameters:
  ///   - first: the element within the tensor; within the chunk under block scaling.
  ///   - vector: the scale vector; the chunk's block scales under block scaling.
  func fill(
    from first: UInt64, count: Int, vector: UnsafePointer<Float>, into scales: UnsafeMutablePointer<Float>
  ) {
    switch kind {
    case .tensor:
      unsafe scales.update(repeating: vector[0], count: count)
    case .block(let shift):
      unsafe Self.fillRuns(from: first, count: count, stride: 1 << shift, vector: vector, into: scales)
    case .row(let stride):
      unsafe Self.fillRuns(from: first, count: count, stride: stride, vector: vector, into: scales)
    case .column(let length):
      Self.forEachRow(from: first, count: count, length: length) { done, column, run in
        unsafe (scales + done).update(from: vector + column, count: run)
      }
    case .rank1(let axes):
      unsafe Self.fillRank1(from: first, count: count, axes: axes, vector: vector, into: scales)
    }
  }

  private static func fillRuns(
    from first: UInt64, count: Int, stride: UInt64, vector: UnsafePointer<Float>,
    into scales: UnsafeMutablePointer<Float>
  ) {
    var done = 0
    while done < count {
      let (index, within) = (first + UInt64(done)).quotientAndRemainder(dividingBy: stride)
      let run = Int(min(UInt64(count - done), stride - within))
      unsafe (scales + done).update(repeating: vector[Int(index)], count: run)
      done += run
    }
  }

  /// Calls `body` with (elements done, index along the last axis, elements of this row) for each piece of a row.
  private static func forEachRow(from first: UInt64, count: Int, length: UInt64, _ body: (Int, Int, Int) -> Void) {
    var done = 0
    while done < count {
      let within = (first + UInt64(done)) % length
      let run = Int(min(UInt64(count - done), length - within))
      body(done, Int(within), run)
      done += run
    }
  }

  private static func fillRank1(
    from first: UInt64, count: Int, axes: [Axis], vector: UnsafePointer<Float>,
    into scales: UnsafeMutablePointer<Float>
  ) {
    guard let last = axes.last else { return }
    forEachRow(from: first, count: count, length: last.length) { done, column, run in
      let element = first + UInt64(done)
      var outer = Float.infinity
      for axis in axes.dropLast() {
        outer = unsafe min(outer, vector[axis.entry(of: element)])
      }
      let inner = unsafe vector + (last.offset + column)
      for i in 0..<run { unsafe scales[done + i] = min(outer, inner[i]) }
    }
  }

  /// Calls `body` with (index into the scale vector, offset, length, step) for each run of elements: element i of the
  /// run refers to entry index + i·step, where step is 0, or 1 along the last axis.
  ///
  /// Under rank1 every element is in one run an axis. The walk is what the first pass over a tensor takes its maxima by.
  func forEachRun(from first: UInt64, count: Int, _ body: (Int, Int, Int, Int) -> Void) {
    func runs(stride: UInt64, length: UInt64, offset: Int) {
      if stride == 1 {
        Self.forEachRow(from: first, count: count, length: length) { body(offset + $1, $0, $2, 1) }
        return
      }
      var done = 0
      while done < count {
        let (index, within) = (first + UInt64(done)).quotientAndRemainder(dividingBy: stride)
        let run = Int(min(UInt64(count - done), stride - within))
        body(offset + Int(index % length), done, run, 0)
        done += run
      }
    }
    switch kind {
    case .tensor: body(0, 0, count, 0)
    case .block(let shift): runs(stride: 1 << shift, length: .max, offset: 0)
    case .row(let stride): runs(stride: stride, length: .max, offset: 0)
    case .column(let length): runs(stride: 1, length: length, offset: 0)
    case .rank1(let axes): for axis in axes { runs(stride: axis.stride, length: axis.length, offset: axis.offset) }
    }
  }
}

extension ScaleField {
  /// How kernels see the field; nil under block scaling, whose scales lie in chunks.
  func rows(of layout: TensorLayout) -> ScaleRows? {
    let elements = layout.elementCount
    switch kind {
    case .block: return nil
    case .tensor: return ScaleRows(axes: [Axis(length: 1, stride: max(1, elements), offset: 0)], rowLength: elements)
    case .row(let stride):
      return ScaleRows(axes: [Axis(length: layout.shape[0], stride: stride, offset: 0)], rowLength: stride)
    case .column(let length):
      return ScaleRows(axes: [Axis(length: length, stride: 1, offset: 0)], rowLength: length)
    case .rank1(let axes):
      return ScaleRows(axes: axes, rowLength: Self.rowLength(axes))
    }
  }

  /// The trailing axes that are taken together as one row, so that rows are long enough to walk and few enough to keep.
  private static func rowLength(_ axes: [Axis]) -> UInt64 {
    var length: UInt64 = 1
    for axis in axes.reversed() where length < 256 {
      guard length == 1 || length * axis.length <= UInt64(TensorLayout.chunkElements) else { break }
      length *= axis.length
    }
    return length
  }
}
