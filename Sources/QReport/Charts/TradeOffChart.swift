/// Bits a parameter against the error of the update: this file, the presets, and a front where a plan gave one.
struct TradeOffChart: Chart {
  private struct Box {
    let x, y, width, height: Double

    func overlaps(_ other: Box) -> Bool {
      x < other.x + other.width && other.x < x + width && y < other.y + other.height && other.y < y + height
    }
  }

  let tradeOff: TradeOff

  var title: String { "Size against update error" }
  var summary: String {
    "Points: bits a parameter to the right, relative L2 error of the update upwards; towards the lower left is better. "
      + tradeOff.points.map(Self.label).joined(separator: "; ") + "."
  }

  func draw(on canvas: inout Canvas) {
    let (left, right, top, bottom) = (56.0, canvas.width - 14, 34.0, 254.0)
    let all = tradeOff.points + tradeOff.front
    let vertical = LogAxis(all.map(\.updateError), from: bottom, to: top)
    let horizontal = LinearAxis(
      all.map(\.bitsPerParameter), from: left, to: right, steps: canvas.isNarrow ? 4 : 8)
    canvas.text("relative L2 error of the update", 0, 14, styleClass: "axis-title")
    canvas.rules(vertical, from: left, to: right)
    canvas.line(left, bottom, right, bottom, styleClass: "axis")
    for tick in horizontal.ticks {
      canvas.text(
        NumberText.fixed(tick, digits: tick == tick.rounded() ? 0 : 1), horizontal.place(tick), bottom + 20,
        anchor: .middle, styleClass: "tick")
    }
    canvas.text("bits a parameter, both moments", right, bottom + 42, anchor: .end, styleClass: "axis-title")
    canvas.height = bottom + 50
    func place(_ point: TradeOff.Point) -> (x: Double, y: Double) {
      (horizontal.place(point.bitsPerParameter), vertical.place(point.updateError))
    }
    if tradeOff.front.count > 1 { canvas.path(Self.steps(tradeOff.front.map(place)), styleClass: "front") }
    draw(
      tradeOff.points, at: place, frame: Box(x: left, y: top - 12, width: right - left, height: bottom - top + 12),
      on: &canvas)
  }

  private func draw(
    _ points: [TradeOff.Point], at place: (TradeOff.Point) -> (x: Double, y: Double), frame: Box,
    on canvas: inout Canvas
  ) {
    // This file lies on top of what it is near; names of points at one place stand together.
    var places: [(x: Double, y: Double, names: [String])] = []
    for point in points.reversed() {
      let (x, y) = place(point)
      canvas.mark(Self.label(point), styleClass: "point \(Self.styleClass(point.kind))", Self.shape(point.kind, x, y))
    }
    for point in points {
      let (x, y) = place(point)
      if let index = places.firstIndex(where: { ($0.x - x).magnitude < 5 && ($0.y - y).magnitude < 5 }) {
        places[index].names.append(point.name)
      } else {
        places.append((x, y, [point.name]))
      }
    }
    var taken = places.map { Box(x: $0.x - 8, y: $0.y - 8, width: 16, height: 16) }
    for (x, y, names) in places {
      let text = names.map { $0.visible(limit: 24) }.joined(separator: ", ")
      guard let spot = Self.spot(text, x, y, frame: frame, taken: taken) else { continue }
      taken.append(spot)
      canvas.text(text, spot.x + 2, spot.y + 13, styleClass: names[0] == points[0].name ? "strong" : "soft")
    }
  }

  /// Where a name stands beside its point without touching another; nil where there is no such place.
  private static func spot(_ text: String, _ x: Double, _ y: Double, frame: Box, taken: [Box]) -> Box? {
    let width = Canvas.width(of: text) + 4
    let candidates = [
      (x + 10, y - 9), (x - 10 - width, y - 9), (x - width / 2, y - 28), (x - width / 2, y + 10), (x + 8, y - 26),
      (x + 8, y + 8), (x - 8 - width, y - 26), (x - 8 - width, y + 8),
    ].map { Box(x: $0.0, y: $0.1, width: width, height: 18) }
    return candidates.first { box in
      box.x >= frame.x && box.x + box.width <= frame.x + frame.width && box.y >= frame.y
        && box.y + box.height <= frame.y + frame.height && !taken.contains { $0.overlaps(box) }
    }
  }

  /// What of a front is reached: the error of the best that is no larger.
  private static func steps(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    var result: [(x: Double, y: Double)] = []
    for point in points {
      if let last = result.last { result.append((point.x, last.y)) }
      result.append(point)
    }
    return result
  }

  private static func shape(_ kind: TradeOff.Point.Kind, _ x: Double, _ y: Double) -> Markup {
    switch kind {
    case .file: Canvas.circle(x, y, 6.5)
    case .preset: Canvas.circle(x, y, 4.5)
    case .plan: Canvas.diamond(x, y, 4.5)
    }
  }

  private static func styleClass(_ kind: TradeOff.Point.Kind) -> String {
    switch kind {
    case .file: "own"
    case .preset: "preset"
    case .plan: "plan"
    }
  }

  static func label(_ point: TradeOff.Point) -> String {
    "\(point.name.visible(limit: 60)): \(NumberText.fixed(point.bitsPerParameter, digits: 2)) bits a parameter, relative L2 error "
      + "\(NumberText.error(point.updateError)), largest \(NumberText.error(point.maxUpdateError))"
  }
}
