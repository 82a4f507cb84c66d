import QCheckpoint

/// Sizes for people.
enum ByteSize {
  /// "512 B", "1.25 MiB".
  static func text(_ bytes: UInt64) -> String {
    guard bytes >= 1024 else { return "\(bytes) B" }
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var value = Double(bytes) / 1024
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return "\(Decimal.text(value, digits: value < 10 ? 2 : 1)) \(units[unit])"
  }
}

/// Numbers for people.
enum Decimal {
  /// With a fixed number of digits after the point.
  static func text(_ value: Double, digits: Int) -> String {
    guard value.isFinite else { return value.description }
    let factor = (0..<digits).reduce(1.0) { product, _ in product * 10 }
    let scaled = (value.magnitude * factor).rounded()
    guard scaled < 1e15 else { return value.description }
    let (whole, rest) = Int(scaled).quotientAndRemainder(dividingBy: Int(factor))
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(whole)" }
    let fraction = String(rest)
    return "\(sign)\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
  }

  /// With three significant digits, as 1.23e-05; 0 as itself.
  static func scientific(_ value: Double) -> String {
    guard value != 0, value.isFinite else { return value == 0 ? "0" : value.description }
    var exponent = 0
    var mantissa = value.magnitude
    while mantissa >= 9.995 {
      mantissa /= 10
      exponent += 1
    }
    while mantissa < 0.9995 {
      mantissa *= 10
      exponent -= 1
    }
    let digits = String(exponent.magnitude)
    let padded = (digits.count < 2 ? "0" : "") + digits
    return "\(value < 0 ? "-" : "")\(text(mantissa, digits: 2))e\(exponent < 0 ? "-" : "+")\(padded)"
  }
}

extension String {
  /// The text with its control characters and line separators as escapes, so that a name from a file can neither begin
  /// a line nor move a cursor.
  var escapingControls: String {
    guard unicodeScalars.contains(where: Self.isControl) else { return self }
    return unicodeScalars.reduce(into: "") { text, scalar in
      switch scalar {
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case _ where Self.isControl(scalar): text += "\\u{\(String(scalar.value, radix: 16))}"
      default: text.unicodeScalars.append(scalar)
      }
    }
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || (0x2028...0x2029).contains(scalar.value)
  }
}

/// Columns of text under headings, fitted to a width by leaving out the last columns and cutting the first in its middle.
struct TextTable {
  private let headings: [String]
  private var rows: [[String]] = []

  init(_ headings: [String]) { self.headings = headings }

  mutating func add(_ row: [String]) { rows.append(row.map(\.escapingControls)) }

  /// The lines; numbers, every column but the first `leading`, are set to the right.
  func lines(width: Int?, leading: Int) -> [String] {
    var widths = headings.map(\.count)
    for row in rows { for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) } }
    if let width {
      // Numbers are shown whole or not at all.
      widths = Array(widths.prefix(Self.fitting(widths, into: width)))
      let others = widths.dropFirst().reduce(0, +) + 2 * (widths.count - 1)
      widths[0] = min(widths[0], max(Self.leastName, width - others))
    }
    return ([headings] + rows).map { row in
      let cells = row.prefix(widths.count).enumerated().map { column, cell in
        let text = Self.cut(cell, to: widths[column])
        let space = String(repeating: " ", count: widths[column] - text.count)
        return column < leading ? text + space : space + text
      }
      let line = cells.joined(separator: "  ")
      // A terminal too narrow even for names shows the beginning of each.
      return width.map { String(line.prefix($0)) } ?? line
    }
  }

  /// The characters that a cut name keeps.
  private static let leastName = 12

  /// How many columns fit into a width beside a short first one; the first always does.
  private static func fitting(_ widths: [Int], into width: Int) -> Int {
    var total = min(widths[0], leastName)
    var count = 1
    while count < widths.count, total + 2 + widths[count] <= width {
      total += 2 + widths[count]
      count += 1
    }
    return count
  }

  private static func cut(_ text: String, to width: Int) -> String {
    guard text.count > width else { return text }
    let half = (width - 1) / 2
    return text.prefix(width - 1 - half) + "…" + text.suffix(half)
  }
}
