/// A chart that can be drawn at any width; text is of one size at all of them.
protocol Chart {
  /// What the chart shows, in a few words: its accessible name.
  var title: String { get }
  /// What it says, in a sentence or two: its accessible description.
  var summary: String { get }
  /// Draws it.
  func draw(on canvas: inout Canvas)
}

extension Chart {
  /// The chart once for wide windows and once for narrow ones, of which the style sheet shows one.
  ///
  /// `id` is unlike those of all other charts of the page.
  func markup(id: String) -> Markup {
    let variants = Canvas.widths.map { name, width in
      var canvas = Canvas(width: width)
      draw(on: &canvas)
      return canvas.markup(id: "\(id)-\(name)", styleClass: name, title: title, summary: summary)
    }
    return Markup(joining: variants)
  }
}
