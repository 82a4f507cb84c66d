/// A logarithmic axis over a little more than its values.
struct LogAxis {
  /// A place to be named.
  struct Tick {
    let logarithm: Double
    let label: String
  }

  /// The decimal logarithms of its ends.
  private let low: Double
  private let high: Double
  /// Where the ends are on the canvas.
  let start: Double
  let end: Double

  /// An axis that holds all of the values above 0, at least a decade long; what is not finite stands at its end.
  init(_ values: some Sequence<Double>, from start: Double, to end: Double) {
    let logarithms = values.filter { $0 > 0 && $0.isFinite }.map(decimalLogarithm)
    let (least, most) = (logarithms.min() ?? -1, logarithms.max() ?? 0)
    let margin = max(0.06 * (most - least), (1 - (most - least)) / 2, 0.12)
    (low, high) = (least - margin, most + margin)
    (self.start, self.end) = (start, end)
  }

  /// The place of a value; of what is beyond an end that end.
  func place(_ value: Double) -> Double {
    guard value > 0 else { return start }
    return place(logarithm: value.isFinite ? decimalLogarithm(value) : high)
  }

  /// The place of 10 to a power.
  func place(logarithm: Double) -> Double {
    let share = (logarithm - low) / (high - low)
    return start + min(max(share, 0), 1) * (end - start)
  }

  /// Powers of ten, with 2 and 5 times them where there is room, or so few that `room` pixels lie between two.
  func ticks(room: Double) -> [Tick] {
    let decade = (end - start).magnitude / (high - low)
    let powers = Int(low.rounded(.down))...Int(high.rounded(.up))
    // Multiples of the step, so that neighbouring charts have the same.
    let step = max(1, Int((room / decade).rounded(.up)))
    let mantissas = decade * 0.301 > room ? [1, 2, 5] : [1]
    let isPlain = powers.lowerBound >= -4 && powers.upperBound <= 3
    return powers.filter { $0 % step == 0 }.flatMap { power in
      mantissas.map { mantissa in
        Tick(
          logarithm: Double(power) + decimalLogarithm(Double(mantissa)),
          label: Self.label(mantissa, power, isPlain: isPlain))
      }
    }.filter { (low...high).contains($0.logarithm) }
  }

  private static func label(_ mantissa: Int, _ power: Int, isPlain: Bool) -> String {
    if isPlain { return NumberText.fixed(Double(mantissa) * QReport.power(ofTen: power), digits: max(0, -power)) }
    return (mantissa == 1 ? "" : "\(mantissa)·") + NumberText.power(of: power)
  }
}

/// A linear axis from 0.
struct LinearAxis {
  let high: Double
  let start: Double
  let end: Double
  private let step: Double

  /// An axis from 0 past the largest of the values, with about `count` steps of 1, 2, 4, 5 or 8 times a power of ten.
  init(_ values: some Sequence<Double>, from start: Double, to end: Double, steps count: Int) {
    let most = max(values.filter(\.isFinite).max() ?? 1, 1e-12)
    let unit = power(ofTen: Int(decimalLogarithm(most / Double(count)).rounded(.down)))
    step = ([1, 2, 4, 5, 8].map { $0 * unit }.first { $0 * Double(count) >= most }) ?? 10 * unit
    high = (most / step).rounded(.up) * step
    (self.start, self.end) = (start, end)
  }

  /// The place of a value; of what is beyond an end, or not finite, that end.
  func place(_ value: Double) -> Double {
    guard value.isFinite else { return end }
    return start + min(max(value / high, 0), 1) * (end - start)
  }

  /// Values to be named.
  var ticks: [Double] { (0...Int((high / step).rounded())).map { Double($0) * step } }
}

extension Canvas {
  /// Horizontal rules with their names at the left.
  mutating func rules(_ axis: LogAxis, from left: Double, to right: Double) {
    for tick in axis.ticks(room: 26) {
      let y = axis.place(logarithm: tick.logarithm)
      line(left, y, right, y, styleClass: "rule")
      text(tick.label, left - 8, y + 4, anchor: .end, styleClass: "tick")
    }
  }

  /// Upright rules with their names below, which leave the ends of the canvas free.
  mutating func uprights(_ axis: LogAxis, from top: Double, to bottom: Double) {
    for tick in axis.ticks(room: 56) {
      let x = axis.place(logarithm: tick.logarithm)
      line(x, top, x, bottom + 4, styleClass: "rule")
      guard x > 24, x < width - 24 else { continue }
      text(tick.label, x, bottom + 18, anchor: .middle, styleClass: "tick")
    }
  }
}
