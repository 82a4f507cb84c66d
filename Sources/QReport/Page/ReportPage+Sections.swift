import QCheckpoint

extension ReportPage {
  /// The sections that there are figures for, in order.
  var sections: [Section] {
    [sizes, tradeOff, tensorErrors, updates, magnitudes, histograms, worst, about].compactMap(\.self)
  }

  // MARK: Sizes

  private var sizes: Section? {
    guard !figures.tensors.isEmpty else { return nil }
    let roles = figures.roles
    let rest = figures.fileBytes - min(figures.fileBytes, figures.storedBytes)
    return Section(
      id: "sizes", title: "Where the bytes are",
      lead: [
        "The tensors take \(NumberText.bytes(figures.storedBytes)) where they took \(NumberText.bytes(figures.sourceBytes)); "
          + "directory, metadata and checksums take \(NumberText.bytes(rest)).",
        "Bars: bytes in the file, within bytes as given. Areas: one a tensor, by bytes in the file.",
      ],
      content: [
        Section.figure(
          RoleChart(roles: roles), id: "roles", table: byRole,
          hint: "Point at any mark to read it here, or reach it by Tab and the arrow keys."),
        Section.figure(Treemap(tensors: figures.tensors), id: "areas", legend: legend, table: byTensor),
      ])
  }

  private var byRole: DataTable {
    var table = DataTable("bytes by role", ["role", "tensors", "in the file", "as given", "bits a value"])
    for role in figures.roles {
      table.add([
        .text(role.role.label), .number(NumberText.grouped(UInt64(role.tensors)), Double(role.tensors)),
        .number(NumberText.bytes(role.storedBytes), Double(role.storedBytes)),
        .number(NumberText.bytes(role.sourceBytes), Double(role.sourceBytes)),
        .number(NumberText.fixed(role.bitsPerValue, digits: 3), role.bitsPerValue),
      ])
    }
    return table
  }

  private var byTensor: DataTable {
    let largest = figures.tensors.enumerated().sorted {
      ($1.element.storedBytes, $0.offset) < ($0.element.storedBytes, $1.offset)
    }.prefix(Self.rows).map(\.element)
    var table = DataTable(
      Self.of(largest.count, figures.tensors.count, "largest tensors"),
      ["tensor", "role", "in the file", "as given", "bits a value"],
      textColumns: [1])
    for tensor in largest {
      table.add([
        .name(tensor.name), .text(tensor.role.label),
        .number(NumberText.bytes(tensor.storedBytes), Double(tensor.storedBytes)),
        .number(NumberText.bytes(tensor.sourceBytes), Double(tensor.sourceBytes)),
        .number(NumberText.fixed(tensor.bitsPerValue, digits: 3), tensor.bitsPerValue),
      ])
    }
    return table
  }

  /// Colours of the roles that occur.
  private var legend: [(styleClass: String, text: String)] { figures.roles.map { ($0.role.styleClass, $0.role.label) } }

  /// The most rows that a table beside a chart has.
  static let rows = 100

  static func of(_ shown: Int, _ all: Int, _ noun: String) -> String {
    shown == all ? noun : "the \(NumberText.grouped(UInt64(shown))) \(noun) of \(NumberText.grouped(UInt64(all)))"
  }

  // MARK: Errors by tensor

  private var tensorErrors: Section? {
    guard !figures.tensors.isEmpty else { return nil }
    let groups = Dictionary(grouping: figures.tensors) { "\($0.role.label), \($0.schemeLabel)" }
    var table = DataTable(
      "bits and errors by role and scheme",
      ["role and scheme", "tensors", "bits a value", "least error", "largest error"])
    for (name, tensors) in groups.sorted(by: { $0.key < $1.key }) {
      let bits = tensors.map(\.bitsPerValue)
      let errors = tensors.map(\.relativeL2Error)
      guard let low = bits.min(), let high = bits.max(), let least = errors.min(), let most = errors.max() else {
        continue
      }
      let range = NumberText.fixed(low, digits: 2) + (low == high ? "" : " to " + NumberText.fixed(high, digits: 2))
      table.add([
        .text(name, styleClass: "name"), .number("\(tensors.count)", Double(tensors.count)), .number(range, low),
        .number(NumberText.error(least), least), .number(NumberText.error(most), most),
      ])
    }
    return Section(
      id: "errors", title: "Bits against error, by tensor",
      lead: [
        "Relative L2 error is √(Σ (x − x̂)² / Σ x²), \(isMeasured ? "measured against the original" : "as the encoder recorded it").",
        "Tensors that would hide each other are one point, the larger the more of them there are.",
      ],
      content: [
        Section.figure(ErrorChart(tensors: figures.tensors), id: "points", legend: legend, table: table)
      ])
  }

  /// Whether errors were measured against an original.
  var isMeasured: Bool {
    if case .verified(_, true) = figures.verdict { return true }
    return false
  }

  // MARK: The rest

  private var about: Section? {
    var rows: [(String, String)] = []
    if let policy = figures.policy { rows.append(("policy", policy)) }
    rows += figures.metadata.prefix(Self.rows).map { ($0.key, $0.value) }
    guard !rows.isEmpty else { return nil }
    var table = DataTable("metadata", ["key", "value"], textColumns: [1])
    for (key, value) in rows { table.add([.name(key), .text(value.visible(limit: 400), styleClass: "name")]) }
    let left = figures.metadata.count - min(figures.metadata.count, Self.rows)
    return Section(
      id: "about", title: "Metadata",
      lead: ["What whoever wrote the file says of it\(left > 0 ? "; \(left) more keys are left out" : "")."],
      content: [table.markup])
  }
}
