import QCheckpoint

extension ReportPage {
  /// The most rows of the table of tensors.
  private static let mostTensors = 200

  /// Those that failed first, then by relative L2 error, then in the order of the file.
  private var worstTensors: [TensorFigures] {
    figures.tensors.enumerated().sorted { first, second in
      let (a, b) = (first.element, second.element)
      return (b.violations, b.relativeL2Error, first.offset) < (a.violations, a.relativeL2Error, second.offset)
    }.prefix(Self.mostTensors).map(\.element)
  }

  var worst: Section? {
    guard !figures.tensors.isEmpty else { return nil }
    let shown = worstTensors
    var table = DataTable(
      "tensors by error",
      ["tensor", "role", "scheme", "shape", "bits a value", "relative L2", "max error", "bound", "margin", "zeroed"],
      textColumns: [1, 2, 3], styleClass: "tensors")
    for tensor in shown { table.add(Self.cells(tensor), isBad: tensor.violations > 0) }
    let controls = Markup.element(
      "div", ["class": "controls"],
      .element(
        "label", [:], .text("Filter "),
        .element("input", ["type": "search", "placeholder": "name, role or scheme", "autocomplete": "off"])),
      .element("span", ["role": "status"], []), .element("button", ["type": "button"], .text("Show all")))
    let all = figures.tensors.count
    let which =
      shown.count == all
      ? "All \(NumberText.count(all, "tensor"))" : "The \(shown.count) worst of \(NumberText.count(all, "tensor"))"
    return Section(
      id: "tensors", title: "Worst tensors",
      lead: [
        "\(which), by relative L2 error. The bound is what the file guarantees of |x − x̂|; the margin is the "
          + "share of the bound that the largest error leaves."
      ], content: [controls, table.markup], isWhole: true)
  }

  private static func cells(_ tensor: TensorFigures) -> [DataTable.Cell] {
    let bound = tensor.guaranteedMaxAbsError
    return [
      .name(tensor.name), .text(tensor.role.label), .text(tensor.schemeLabel, styleClass: "scheme"),
      .text(NumberText.shape(tensor.shape)),
      .number(NumberText.fixed(tensor.bitsPerValue, digits: 2), tensor.bitsPerValue),
      .number(NumberText.error(tensor.relativeL2Error), tensor.relativeL2Error),
      .number(NumberText.error(tensor.maxAbsError), tensor.maxAbsError),
      .number(bound.map(NumberText.error) ?? "none", bound ?? .infinity),
      .number(tensor.margin.map { NumberText.share($0) } ?? "", tensor.margin ?? .infinity),
      .number(NumberText.grouped(tensor.zerosCreated), Double(tensor.zerosCreated)),
    ]
  }
}
