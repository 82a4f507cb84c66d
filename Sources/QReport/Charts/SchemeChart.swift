/// How often codes occur and how large scales are, under one scheme: two histograms side by side, or one above the other.
struct SchemeChart: Chart {
  private struct Bar {
    let label: String
    let share: Double
  }

  let figures: SchemeFigures

  private var isLog: Bool { figures.scheme.map == .log }
  private var scaleNoun: String { isLog ? "greatest values of blocks" : "scales" }

  var title: String { "Codes and scales: \(figures.scheme.label)" }
  var summary: String {
    let used = figures.codes.counts.filter { $0 > 0 }.count
    var text =
      "Two histograms: how often each code occurs, and how large the \(scaleNoun) are. \(used) of "
      + "\(figures.codes.counts.count) codes occur, with \(NumberText.fixed(figures.codes.entropy, digits: 2)) bits of entropy a code."
    if let range = figures.scales.exponents {
      text += " Their magnitudes reach from \(Self.power(range.lowerBound)) to \(Self.power(range.upperBound + 1))."
    }
    return text
  }

  func draw(on canvas: inout Canvas) {
    let gap = 40.0
    let width = canvas.isNarrow ? canvas.width : (canvas.width - gap) / 2
    let panel = 176.0
    let entropy = NumberText.fixed(figures.codes.entropy, digits: 2)
    drawPanel("Codes", "entropy \(entropy) of \(figures.scheme.bits) bits", codeBars, 0, 0, width, on: &canvas)
    let last = figures.codes.counts.count - 1
    for (tick, anchor) in [(0, Canvas.Anchor.start), ((last + 1) / 2, .middle), (last, .end)] {
      let x = anchor == .start ? 0 : anchor == .end ? width : width / 2
      canvas.text("\(tick)", x, panel - 14, anchor: anchor, styleClass: "tick")
    }
    let (x, y) = canvas.isNarrow ? (0.0, panel + 16) : (width + gap, 0.0)
    drawScales(x, y, width, panel, on: &canvas)
    canvas.height = canvas.isNarrow ? 2 * panel + 16 : panel
  }

  private func drawScales(_ x: Double, _ y: Double, _ width: Double, _ panel: Double, on canvas: inout Canvas) {
    let total = figures.scales.total
    let zeros = total == 0 ? 0 : Double(figures.scales.zeros) / Double(total)
    drawPanel(
      isLog ? "Greatest of block" : "Scales", zeros > 0 ? "\(NumberText.share(zeros)) are 0" : "log scale",
      scaleBars, x, y,
      width, on: &canvas)
    guard let range = shownExponents else { return }
    let (low, high) = (Self.decimal(range.lowerBound), Self.decimal(range.upperBound + 1))
    let powers = Array(Int(low.rounded(.up))...max(Int(low.rounded(.up)), Int(high.rounded(.down))))
    let step = max(1, (powers.count * 46 + Int(width) - 1) / Int(width))
    for power in powers where power % step == 0 {
      let place = x + (Double(power) - low) / (high - low) * width
      guard place >= x + 14, place <= x + width - 14 else { continue }
      canvas.text(NumberText.power(of: power), place, y + panel - 14, anchor: .middle, styleClass: "tick")
    }
  }

  private func drawPanel(
    _ title: String, _ note: String, _ bars: [Bar], _ x: Double, _ y: Double, _ width: Double, on canvas: inout Canvas
  ) {
    let (top, bottom) = (y + 28, y + 144)
    canvas.text(title, x, y + 14, styleClass: "strong")
    canvas.text(note, x + width, y + 14, anchor: .end, styleClass: "soft")
    canvas.line(x, bottom, x + width, bottom, styleClass: "axis")
    let most = max(bars.map(\.share).max() ?? 0, 1e-12)
    let step = width / Double(max(1, bars.count))
    let gap = step > 6 ? 1.0 : 0.3
    for (index, bar) in bars.enumerated() where bar.share > 0 {
      // What occurs is seen.
      let height = max(0.7, bar.share / most * (bottom - top))
      canvas.mark(
        bar.label, styleClass: "bar",
        Canvas.rectangle(x + Double(index) * step + gap / 2, bottom - height, step - gap, height, styleClass: "fill"))
    }
  }

  // MARK: Bars

  /// At most 64 of them, each of as many codes.
  private var codeBars: [Bar] {
    let counts = figures.codes.counts
    let total = Double(max(1, counts.reduce(0, +)))
    let size = max(1, counts.count / 64)
    return stride(from: 0, to: counts.count, by: size).map { start in
      let share = Double(counts[start..<start + size].reduce(0, +)) / total
      let codes = size == 1 ? "code \(start)" : "codes \(start) to \(start + size - 1)"
      return Bar(label: "\(codes): \(NumberText.share(share))", share: share)
    }
  }

  /// The exponents that occur, and others around them where they are few.
  private var shownExponents: ClosedRange<Int>? {
    guard let range = figures.scales.exponents else { return nil }
    let more = max(0, 20 - range.count)
    let low = max(ScaleHistogram.leastExponent, range.lowerBound - more / 2)
    return low...min(127, range.upperBound + more - more / 2)
  }

  /// One for each power of two, or for as many of them as give no more than 64 bars.
  private var scaleBars: [Bar] {
    guard let range = shownExponents else { return [] }
    let total = Double(figures.scales.total)
    let size = (range.count + 63) / 64
    return stride(from: range.lowerBound, through: range.upperBound, by: size).map { start in
      let end = min(start + size - 1, range.upperBound)
      let share = Double((start...end).reduce(0) { $0 + figures.scales.count(exponent: $1) }) / total
      return Bar(
        label: "\(scaleNoun) from \(Self.power(start)) to \(Self.power(end + 1)): \(NumberText.share(share))",
        share: share)
    }
  }

  /// What a bar says, for the table beside the chart.
  var rows: [(String, String)] {
    (codeBars + scaleBars).filter { $0.share > 0 }.map { bar in
      let parts = bar.label.split(separator: ":", maxSplits: 1)
      return (String(parts[0]), NumberText.share(bar.share))
    }
  }

  private static func decimal(_ exponent: Int) -> Double { Double(exponent) * 0.30102999566398120 }

  private static func power(_ exponent: Int) -> String {
    NumberText.error(Double(sign: .plus, exponent: exponent, significand: 1))
  }
}
