/// The error relative to the value, by the decade of the value: mean and largest, above a strip of how many there are.
struct MagnitudeChart: Chart {
  let scheme: String
  let histogram: MagnitudeHistogram

  private var decades: [(decade: Int, figures: MagnitudeHistogram.Decade)] { histogram.occupied }

  var title: String { "Error against magnitude: \(scheme)" }
  var summary: String {
    guard let first = decades.first, let last = decades.last else { return "Every value is zero." }
    return "For each decade of |x| the mean and the largest of |x − x̂| / |x|, with bars for the share of the values. "
      + "Decades from \(NumberText.power(of: first.decade)) to \(NumberText.power(of: last.decade + 1))."
  }

  func draw(on canvas: inout Canvas) {
    let (left, right, top, bottom) = (56.0, canvas.width - 14, 34.0, 214.0)
    let (stripTop, stripBottom) = (bottom + 14, bottom + 58)
    canvas.height = stripBottom + 46
    canvas.text("|x − x̂| / |x|", 0, 14, styleClass: "axis-title")
    guard let first = decades.first?.decade, let last = decades.last?.decade else {
      return canvas.text("Every value is zero.", left, top + 20, styleClass: "soft")
    }
    let vertical = LogAxis(decades.flatMap { [$0.figures.mean, $0.figures.max] }, from: bottom, to: top)
    canvas.rules(vertical, from: left, to: right)
    canvas.text("share", left - 8, (stripTop + stripBottom) / 2 + 4, anchor: .end, styleClass: "tick")
    canvas.line(left, stripBottom, right, stripBottom, styleClass: "axis")
    let step = (right - left) / Double(last - first + 1)
    let most = Double(decades.map(\.figures.count).max() ?? 1)
    for (decade, figures) in decades {
      let x = left + (Double(decade - first) + 0.5) * step
      let height = max(0.7, Double(figures.count) / most * (stripBottom - stripTop))
      let width = min(step - 2, 34)
      canvas.mark(
        label(decade, figures), styleClass: "decade",
        Canvas.rectangle(x - width / 2, stripBottom - height, width, height, styleClass: "strip"),
        Canvas.range(x, vertical.place(figures.mean), vertical.place(figures.max)),
        Canvas.circle(x, vertical.place(figures.max), 3.6, styleClass: "hollow"),
        Canvas.circle(x, vertical.place(figures.mean), 4, styleClass: "solid"))
    }
    let every = max(1, Int((44 / step).rounded(.up)))
    for decade in first...last + 1 where decade % every == 0 {
      let x = left + Double(decade - first) * step
      canvas.line(x, stripBottom, x, stripBottom + 4, styleClass: "axis")
      canvas.text(NumberText.power(of: decade), x, stripBottom + 18, anchor: .middle, styleClass: "tick")
    }
    canvas.text("|x|", right, stripBottom + 40, anchor: .end, styleClass: "axis-title")
  }

  private func label(_ decade: Int, _ figures: MagnitudeHistogram.Decade) -> String {
    var text =
      "|x| from \(NumberText.power(of: decade)) to \(NumberText.power(of: decade + 1)): "
      + "\(NumberText.share(share(figures))) of the values, mean \(NumberText.error(figures.mean)), largest "
      + NumberText.error(figures.max)
    if figures.zeroed > 0 { text += ", \(NumberText.grouped(figures.zeroed)) decode to zero" }
    return text
  }

  func share(_ figures: MagnitudeHistogram.Decade) -> Double { Double(figures.count) / Double(histogram.total) }
}

extension Canvas {
  /// An upright line from one value to another.
  static func range(_ x: Double, _ y1: Double, _ y2: Double) -> Markup {
    .element(
      "line", ["x1": number(x), "y1": number(y1), "x2": number(x), "y2": number(y2), "class": "span"])
  }
}
