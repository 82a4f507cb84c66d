import QVerify

/// The codes and scales of tensors as a picture of characters.
struct PlotText {
  private let profile: TensorProfile
  private let width: Int
  private let blocks: Blocks

  init(_ profile: TensorProfile, width: Int, blocks: Blocks) {
    (self.profile, self.width, self.blocks) = (profile, width, blocks)
  }

  /// The lines of the picture, none of which is wider than asked for where that is 20 or more.
  var lines: [String] { codeLines + scaleLines }

  // MARK: Codes

  /// Lines of the histogram.
  private static let height = 8
  /// Characters before the columns.
  private static let margin = 9

  /// Columns from the first code to the last, each of one code or of as many as have to share it.
  private var codeLines: [String] {
    let codes = profile.codes
    let used = codes.counts.count { $0 > 0 }
    let summary =
      "codes: entropy \(Decimal.text(codes.entropy, digits: 2)) bits, \(used) of \(codes.counts.count) used"
    guard codes.total > 0 else { return [summary] }
    let room = max(width - Self.margin - 1, 8)
    let group = (codes.counts.count + room - 1) / room
    let columnWidth = group > 1 ? 1 : min(room / codes.counts.count, 4)
    let sums = stride(from: 0, to: codes.counts.count, by: group).map { start in
      codes.counts[start..<min(start + group, codes.counts.count)].reduce(0, +)
    }
    let most = sums.max() ?? 1
    let columns = sums.flatMap { sum in
      [Double](repeating: Double(sum) / Double(most), count: columnWidth)
    }
    let rows = blocks.columns(columns, height: Self.height)
    let drawn = rows.enumerated().map { row, text in
      Self.label(row == 0 ? Self.percent(most, of: codes.total) : "") + " " + Self.painted(Self.trimmed(text))
    }
    let axis = Self.axis(last: codes.counts.count - 1, width: columns.count)
    let note = group > 1 ? "  (\(group) codes a column)" : ""
    return [summary + note] + drawn + [Self.label("code") + " " + axis]
  }

  /// The first, the middle and the last code under their columns.
  private static func axis(last: Int, width: Int) -> String {
    let (middle, end) = (String(last / 2), String(last))
    let place = max(width / 2 - 1, 2)
    guard place + middle.count + 1 + end.count <= width else {
      return "0" + String(repeating: " ", count: max(1, width - 1 - end.count)) + end
    }
    let first = "0" + String(repeating: " ", count: place - 1) + middle
    return first + String(repeating: " ", count: width - first.count - end.count) + end
  }

  // MARK: Scales

  /// The most lines of scales.
  private static let scaleRows = 12

  /// A bar for each power of two, or for as many as have to share a line.
  private var scaleLines: [String] {
    let scales = profile.scales
    guard scales.total > 0 else { return ["scales: none"] }
    var rows: [(label: String, count: UInt64)] = []
    if let least = scales.counts.keys.min(), let greatest = scales.counts.keys.max() {
      let group = (greatest - least) / Self.scaleRows + 1
      for first in stride(from: least, through: greatest, by: group) {
        let count = (first..<first + group).reduce(0) { $0 + (scales.counts[$1] ?? 0) }
        rows.append((group == 1 ? "2^\(first)" : "2^\(first)…", count))
      }
    }
    if scales.zeros > 0 { rows.append(("0", scales.zeros)) }
    if scales.nonFinite > 0 { rows.append(("no number", scales.nonFinite)) }
    let most = rows.map(\.count).max() ?? 1
    let room = min(max(width - Self.margin - 9, 4), 60)
    return ["scales: \(scales.total), by power of two"]
      + rows.map { row in
        let bar = blocks.bar(Double(row.count) / Double(most), width: room)
        let label = blocks == .ascii ? row.label.replacing("…", with: "+") : row.label
        return Self.label(label) + " " + Self.painted(bar) + " " + Self.percent(row.count, of: scales.total)
      }
  }

  // MARK: Text

  private static func label(_ text: String) -> String {
    String(repeating: " ", count: max(0, margin - 1 - text.count)) + text.prefix(margin - 1)
  }

  private static func trimmed(_ text: String) -> String {
    String(text.reversed().drop { $0 == " " }.reversed())
  }

  /// Three digits and a sign, "<0.1 %" for less.
  private static func percent(_ count: UInt64, of total: UInt64) -> String {
    let share = Double(count) / Double(total) * 100
    if count > 0, share < 0.1 { return "<0.1 %" }
    return "\(Decimal.text(share, digits: 1)) %"
  }

  /// Colored where colors are wanted.
  static func painted(_ text: String) -> String {
    Terminal.usesStyle && !text.isEmpty ? "\u{1B}[36m\(text)\u{1B}[0m" : text
  }

  /// The beginning of a line that is too long; colors, which take no room, are left whole.
  static func cut(_ line: String, to width: Int) -> String {
    var (text, shown, isEscape) = ("", 0, false)
    for character in line {
      if character == "\u{1B}" { isEscape = true }
      if !isEscape {
        shown += 1
        if shown > width { continue }
      }
      text.append(character)
      if isEscape, character == "m" { isEscape = false }
    }
    return text
  }
}
