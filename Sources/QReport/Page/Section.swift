/// A part of the page: heading and words at the left, figures at the right.
struct Section {
  let id: String
  let title: String
  /// Paragraphs of words.
  let lead: [String]
  let content: [Markup]
  /// Whether the figures take the whole width, below the words.
  var isWhole = false

  var markup: Markup {
    .element(
      "section", ["id": id, "class": isWhole ? "whole" : nil, "aria-labelledby": "\(id)-h"],
      .element(
        "div", ["class": "lead"],
        [.element("h2", ["id": "\(id)-h"], .text(title))] + lead.map { .element("p", [:], .text($0)) }),
      .element("div", [:], content))
  }

  /// A chart with what stands around it: a heading, a legend, the line that tells what a mark says, and a table.
  static func figure(
    _ chart: some Chart, id: String, heading: String? = nil, legend: [(styleClass: String, text: String)] = [],
    table: DataTable? = nil, hint: String = ""
  ) -> Markup {
    let items = legend.map { entry in
      Markup.element(
        "li", [:], .element("i", ["class": entry.styleClass, "aria-hidden": "true"], []), .text(entry.text))
    }
    return .element(
      "figure", [:], heading.map { .element("h3", [:], .text($0)) } ?? [],
      items.isEmpty ? [] : .element("ul", ["class": "legend"], items), chart.markup(id: id),
      .element("p", ["class": "readout", "aria-hidden": "true"], .text(hint)),
      table?.details ?? [])
  }
}
