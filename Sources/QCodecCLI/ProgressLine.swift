/// The line that tells how far a job is: a part done, a bar, amounts, the rate and the time left, as much as fits.
struct ProgressLine {
  /// What is counted.
  enum Unit: Sendable {
    case bytes
    /// Things of one kind, by their plural.
    case things(String)
  }

  let unit: Unit
  let done: UInt64
  /// nil where nobody knows.
  let total: UInt64?
  /// Units a second; 0 where nothing was measured yet.
  let rate: Double
  let elapsed: Double

  /// The line without its end, at most `width` characters; what matters least is left out first.
  func text(width: Int, blocks: Blocks, colored: Bool) -> String {
    guard let total else { return String(Self.joined([amount, rateText, Self.clock(elapsed)], width).prefix(width)) }
    let parts = [share(of: total), "\(amount) / \(amountText(total))", rateText, timeLeft(of: total)]
    let plain = Self.joined(parts, width)
    // Two spaces and two brackets surround the bar.
    let room = min(width - plain.count - 4, 40)
    guard room >= 8, plain.count == Self.joined(parts, .max).count, let end = plain.firstIndex(of: "%") else {
      return String(plain.prefix(width))
    }
    let fraction = total == 0 ? 1 : Double(min(done, total)) / Double(total)
    let bar = blocks.bar(fraction, width: room)
    let drawn = colored ? "\u{1B}[32m\(bar)\u{1B}[0m" : bar
    return "\(plain[...end])  [\(drawn)]\(plain[plain.index(after: end)...])"
  }

  /// As many parts, from the first, as fit; the first always is there.
  private static func joined(_ parts: [String?], _ width: Int) -> String {
    var parts = parts.compactMap(\.self)
    while parts.count > 1, parts.reduce(-2, { $0 + $1.count + 2 }) > width { parts.removeLast() }
    return parts.joined(separator: "  ")
  }

  // MARK: Parts

  /// Rounded down, so that 100 % is the end and nothing else.
  private func share(of total: UInt64) -> String {
    let percent =
      done >= total ? 100 : total.dividingFullWidth(done.multipliedFullWidth(by: 100)).quotient
    return String(repeating: " ", count: percent < 10 ? 2 : percent < 100 ? 1 : 0) + "\(percent) %"
  }

  private var amount: String { amountText(total.map { min(done, $0) } ?? done) }

  private func amountText(_ count: UInt64) -> String {
    switch unit {
    case .bytes: ByteSize.text(count)
    case .things(let name): count == total ? "\(count) \(name)" : "\(count)"
    }
  }

  private var rateText: String? {
    guard case .bytes = unit, rate > 0 else { return nil }
    return ByteSize.text(UInt64(min(rate, 1e18))) + "/s"
  }

  private func timeLeft(of total: UInt64) -> String? {
    guard done < total else { return Self.clock(0) + " left" }
    guard rate > 0 else { return nil }
    return Self.clock(Double(total - done) / rate) + " left"
  }

  /// "0:07", "12:34", "1:02:03"; beyond four days "over 4 days".
  static func clock(_ seconds: Double) -> String {
    guard seconds < 360_000 else { return "over 4 days" }
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let (minutes, rest) = Int(seconds.rounded(.up)).quotientAndRemainder(dividingBy: 60)
    guard minutes >= 60 else { return "\(minutes):\(two(rest))" }
    return "\(minutes / 60):\(two(minutes % 60)):\(two(rest))"
  }
}
