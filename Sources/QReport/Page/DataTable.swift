/// A table of figures: the first column names its row, others are numbers unless they are said to be text.
struct DataTable {
  /// One cell: what it shows, and by which number it is sorted.
  struct Cell {
    let content: Markup
    let value: Double?

    static func text(_ text: String, styleClass: String? = nil) -> Cell {
      Cell(
        content: styleClass.map { .element("span", ["class": $0], .text(text)) } ?? .text(text), value: nil)
    }

    static func number(_ text: String, _ value: Double) -> Cell { Cell(content: .text(text), value: value) }

    /// A name from the file, in a direction of its own; where it is broken, it is behind its own marks.
    static func name(_ name: String) -> Cell {
      var pieces: [Markup] = []
      var word = ""
      for character in name.visible(limit: 160) {
        word.append(character)
        guard "/._".contains(character) else { continue }
        pieces += [.text(word), .element("wbr")]
        word = ""
      }
      pieces.append(.text(word))
      return Cell(content: .element("span", ["class": "name"], .element("bdi", [:], pieces)), value: nil)
    }
  }

  let caption: String
  let headings: [String]
  /// Columns of text besides the first.
  var textColumns: Set<Int> = []
  var styleClass: String?
  private var rows: [Markup] = []

  init(_ caption: String, _ headings: [String], textColumns: Set<Int> = [], styleClass: String? = nil) {
    self.caption = caption
    self.headings = headings
    self.textColumns = textColumns
    self.styleClass = styleClass
  }

  mutating func add(_ cells: [Cell], isBad: Bool = false) {
    precondition(cells.count == headings.count, "\(cells.count) cells under \(headings.count) headings")
    let parts = cells.enumerated().map { column, cell -> Markup in
      let value = cell.value.map { $0.isFinite ? "\($0)" : $0 > 0 ? "Infinity" : "-Infinity" }
      if column == 0 { return .element("th", ["scope": "row", "data-value": value], cell.content) }
      return .element(
        "td", ["class": textColumns.contains(column) ? "t" : nil, "data-value": value], cell.content)
    }
    rows.append(.element("tr", ["class": isBad ? "bad" : nil], parts))
  }

  /// The table in a region that scrolls on its own where it is too wide.
  var markup: Markup {
    let head = headings.enumerated().map { column, heading in
      Markup.element("th", ["scope": "col", "class": textColumns.contains(column) ? "t" : nil], .text(heading))
    }
    return .element(
      "div", ["class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption],
      .element(
        "table", ["class": styleClass], .element("thead", [:], .element("tr", [:], head)), .element("tbody", [:], rows))
    )
  }

  /// The table behind a word that opens it, as what stands beside a chart.
  var details: Markup {
    .element("details", [:], .element("summary", [:], .text("Table: \(caption)")), markup)
  }
}
