import QCheckpoint

/// Bits a value against relative L2 error, a point a tensor; points that would hide each other are one, the larger the
/// more it stands for.
struct ErrorChart: Chart {
  private struct Cell: Hashable {
    let column: Int
    let row: Int
    let role: Role
  }

  let tensors: [TensorFigures]

  var title: String { "Bits a value against error, by tensor" }
  var summary: String {
    let quantized = tensors.filter { $0.relativeL2Error > 0 }
    guard let least = quantized.map(\.relativeL2Error).min(), let most = quantized.map(\.relativeL2Error).max() else {
      return "Every tensor decodes exactly."
    }
    return "Points, one a tensor: bits a value to the right, relative L2 error upwards. "
      + "\(NumberText.count(quantized.count, "tensor")) with errors from \(NumberText.error(least)) to "
      + "\(NumberText.error(most)); \(NumberText.grouped(UInt64(tensors.count - quantized.count))) without any."
  }

  func draw(on canvas: inout Canvas) {
    let (left, right) = (56.0, canvas.width - 14)
    let (top, bottom) = (34.0, 262.0)
    let exact = bottom + 30
    let vertical = LogAxis(tensors.map(\.relativeL2Error), from: bottom, to: top)
    let horizontal = LinearAxis(
      tensors.map(\.bitsPerValue), from: left, to: right, steps: canvas.isNarrow ? 4 : 8)
    canvas.text("relative L2 error", 0, 14, styleClass: "axis-title")
    if tensors.contains(where: { $0.relativeL2Error > 0 }) { canvas.rules(vertical, from: left, to: right) }
    canvas.line(left, exact, right, exact, styleClass: "rule")
    canvas.text("exact", left - 8, exact + 4, anchor: .end, styleClass: "tick")
    for tick in horizontal.ticks {
      let digits = tick == tick.rounded() ? 0 : 1
      canvas.text(
        NumberText.fixed(tick, digits: digits), horizontal.place(tick), exact + 26, anchor: .middle, styleClass: "tick")
    }
    canvas.text("bits a value", right, exact + 48, anchor: .end, styleClass: "axis-title")
    canvas.height = exact + 56
    for (place, members) in cells(horizontal, vertical, exact: exact) {
      let (x, y) = (Double(place.column) * cell, Double(place.row) * cell)
      let radius = min(11, 4 + decimalLogarithm(Double(members.count)) * 2.5)
      let shape = place.role == .secondMoment ? Canvas.diamond : Canvas.circle
      canvas.mark(Self.label(members), styleClass: "\(place.role.styleClass) point", shape(x, y, radius, nil))
    }
  }

  /// Pixels within which points are one.
  private var cell: Double { tensors.count > 300 ? 10 : 4 }

  private func cells(
    _ horizontal: LinearAxis, _ vertical: LogAxis, exact: Double
  ) -> [(Cell, [TensorFigures])] {
    var cells: [Cell: [TensorFigures]] = [:]
    for tensor in tensors {
      let y = tensor.relativeL2Error == 0 ? exact : vertical.place(tensor.relativeL2Error)
      let x = horizontal.place(tensor.bitsPerValue)
      let place = Cell(column: Int((x / cell).rounded()), row: Int((y / cell).rounded()), role: tensor.role)
      cells[place, default: []].append(tensor)
    }
    return cells.sorted {
      ($0.key.column, $0.key.row, $0.key.role.rawValue) < ($1.key.column, $1.key.row, $1.key.role.rawValue)
    }.map { ($0.key, $0.value) }
  }

  private static func label(_ members: [TensorFigures]) -> String {
    let names = members.prefix(3).map { $0.name.visible(limit: 60) }.joined(separator: ", ")
    let more = members.count > 3 ? " and \(NumberText.grouped(UInt64(members.count - 3))) more" : ""
    let first = members[0]
    let error = first.relativeL2Error == 0 ? "exact" : "relative L2 error \(NumberText.error(first.relativeL2Error))"
    return "\(names)\(more): \(NumberText.fixed(first.bitsPerValue, digits: 2)) bits a value, "
      + "\(members.count > 1 ? "about " : "")\(error)"
  }
}
