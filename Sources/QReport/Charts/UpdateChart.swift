import QCodec

/// The error of the update by pair of moments, in the order of the file; of many pairs those that follow each other are
/// taken together.
struct UpdateChart: Chart {
  /// One pair, or several together.
  struct Row {
    /// Of the first pair: as the file has it, and without what all pairs' names share.
    let name: String
    let shortName: String
    let pairs: Int
    let error: UpdateError
  }

  let rows: [Row]
  private let pairCount: Int

  /// At most so many rows.
  static let most = 80

  /// The pairs whose error is known and not 0.
  init(_ pairs: [PairFigures]) {
    let measured = pairs.filter { $0.error.map { $0.maxAbsError > 0 } ?? false }
    pairCount = measured.count
    let short = NameParts.shortened(measured.map(\.first))
    let size = max(1, (measured.count + Self.most - 1) / Self.most)
    rows = stride(from: 0, to: measured.count, by: size).compactMap { start in
      let group = measured[start..<min(start + size, measured.count)]
      guard let epsilon = group.first?.error?.epsilon, let first = group.first?.first else { return nil }
      let error = group.compactMap(\.error).reduce(into: UpdateError(epsilon: epsilon)) { $0.append($1) }
      return Row(name: first, shortName: short[start], pairs: group.count, error: error)
    }
  }

  var title: String { "Update error by layer" }
  var summary: String {
    guard let worst = rows.max(by: { $0.error.relativeL2Error < $1.error.relativeL2Error }) else {
      return "No update differs."
    }
    return "Dots, one row \(pairCount > rows.count ? "for some pairs of moments" : "a pair of moments"): relative L2 "
      + "error and the largest error of a single update. The row of the largest relative L2 error, "
      + "\(NumberText.error(worst.error.relativeL2Error)), is \(Self.name(worst, limit: 80))."
  }

  func draw(on canvas: inout Canvas) {
    let isNarrow = canvas.isNarrow
    let (left, right) = (isNarrow ? 8.0 : 290.0, canvas.width - 14)
    let isDense = rows.count > 30
    let row = isNarrow ? (isDense ? 36.0 : 42.0) : (isDense ? 21.0 : 26.0)
    let axis = LogAxis(rows.flatMap { [$0.error.relativeL2Error, $0.error.maxAbsError] }, from: left, to: right)
    let bottom = Double(rows.count) * row + 4
    canvas.uprights(axis, from: 0, to: bottom)
    for (index, figures) in rows.enumerated() {
      let y = Double(index) * row + (isNarrow ? 30 : 14)
      let room = isNarrow ? canvas.width - 8 : left - 24
      canvas.text(
        Self.name(figures, within: room), isNarrow ? 0 : left - 16,
        isNarrow ? y - 12 : y + 4, anchor: isNarrow ? .start : .end, styleClass: "row-name")
      draw(figures, axis, y, on: &canvas)
    }
    canvas.line(left, bottom, right, bottom, styleClass: "axis")
    canvas.text("error of the update", right, bottom + 40, anchor: .end, styleClass: "axis-title")
    canvas.height = bottom + 46
  }

  private func draw(_ row: Row, _ axis: LogAxis, _ y: Double, on canvas: inout Canvas) {
    let (mean, most) = (axis.place(row.error.relativeL2Error), axis.place(row.error.maxAbsError))
    let span = Markup.element(
      "line",
      [
        "x1": Canvas.number(mean), "y1": Canvas.number(y), "x2": Canvas.number(most), "y2": Canvas.number(y),
        "class": "span",
      ])
    canvas.mark(
      "\(Self.name(row, limit: 80)): relative L2 error \(NumberText.error(row.error.relativeL2Error)), largest error "
        + NumberText.error(row.error.maxAbsError), styleClass: "row", span,
      Canvas.circle(most, y, 3.6, styleClass: "hollow"), Canvas.circle(mean, y, 4, styleClass: "solid"))
  }

  private static func name(_ row: Row, within room: Double) -> String {
    guard row.pairs > 1 else { return Canvas.fitted(row.shortName, room) }
    let more = " +\(row.pairs - 1)"
    return Canvas.fitted(row.shortName, room - Canvas.width(of: more)) + more
  }

  /// The first moment's name, and how many pairs follow.
  static func name(_ row: Row, limit: Int) -> String {
    guard row.pairs > 1 else { return row.name.visible(limit: limit) }
    let more = " +\(row.pairs - 1)"
    return row.name.visible(limit: max(8, limit - more.count)) + more
  }
}
