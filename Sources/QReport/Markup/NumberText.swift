/// Numbers as a page shows them.
enum NumberText {
  /// "0", "0.00613", "1.73 × 10⁻⁹": three digits, powers of ten where zeros would be many.
  static func error(_ value: Double) -> String {
    guard value != 0 else { return "0" }
    guard value.isFinite else { return value.isNaN ? "not a number" : "infinite" }
    var (mantissa, exponent) = scientific(value)
    if (-3...3).contains(exponent) { return fixed(value, digits: max(0, 2 - exponent)) }
    if exponent == 4 || exponent == 5 { return grouped(UInt64(value.magnitude.rounded())) }
    if mantissa >= 9.995 { (mantissa, exponent) = (1, exponent + 1) }
    return "\(value < 0 ? "−" : "")\(fixed(mantissa, digits: 2)) × \(power(of: exponent))"
  }

  /// "10⁻⁶".
  static func power(of exponent: Int) -> String {
    let digits = Array("⁰¹²³⁴⁵⁶⁷⁸⁹")
    let text = String(exponent.magnitude).map { String(digits[Int(String($0)) ?? 0]) }.joined()
    return "10\(exponent < 0 ? "⁻" : "")\(text)"
  }

  /// With so many digits after the point.
  static func fixed(_ value: Double, digits: Int) -> String {
    let factor = QReport.power(ofTen: digits)
    let scaled = (value.magnitude * factor).rounded()
    guard scaled < 1e15 else { return value.description }
    let (whole, rest) = UInt64(scaled).quotientAndRemainder(dividingBy: UInt64(factor))
    let sign = value < 0 && scaled > 0 ? "−" : ""
    guard digits > 0 else { return "\(sign)\(whole)" }
    let text = String(rest)
    return "\(sign)\(whole).\(String(repeating: "0", count: digits - text.count))\(text)"
  }

  /// "12,345,678".
  static func grouped(_ value: UInt64) -> String {
    var text = ""
    for (index, digit) in String(value).reversed().enumerated() {
      if index > 0, index % 3 == 0 { text = "," + text }
      text = "\(digit)" + text
    }
    return text
  }

  /// "512 B", "1.25 MiB".
  static func bytes(_ bytes: UInt64) -> String {
    guard bytes >= 1024 else { return "\(bytes) B" }
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var (value, unit) = (Double(bytes) / 1024, 0)
    while value >= 1023.95, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return "\(fixed(value, digits: value < 9.995 ? 2 : 1)) \(units[unit])"
  }

  /// "12.3 %", "< 0.1 %" of what is not nothing.
  static func share(_ value: Double) -> String {
    if value > 0, value < 0.0005 { return "< 0.1 %" }
    return "\(fixed(value * 100, digits: 1)) %"
  }

  /// "1 tensor", "13 tensors".
  static func count(_ count: Int, _ noun: String) -> String {
    "\(grouped(UInt64(count))) \(noun)\(count == 1 ? "" : "s")"
  }

  /// "768 × 3,072", "scalar".
  static func shape(_ shape: [UInt64]) -> String {
    shape.isEmpty ? "scalar" : shape.map(grouped).joined(separator: " × ")
  }

  private static func scientific(_ value: Double) -> (mantissa: Double, exponent: Int) {
    let exponent = Int(decimalLogarithm(value.magnitude).rounded(.down))
    // The logarithm may be off by one at a power of ten, and subnormal numbers have none of their own here.
    let mantissa =
      exponent < -300
      ? value.magnitude * QReport.power(ofTen: 300) * QReport.power(ofTen: -exponent - 300)
      : exponent < 0
        ? value.magnitude * QReport.power(ofTen: -exponent) : value.magnitude / QReport.power(ofTen: exponent)
    if mantissa >= 10 { return (mantissa / 10, exponent + 1) }
    return mantissa < 1 ? (mantissa * 10, exponent - 1) : (mantissa, exponent)
  }
}
