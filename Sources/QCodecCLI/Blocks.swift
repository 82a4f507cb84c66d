/// The characters that bars are drawn with: eighths of blocks, or plain ASCII.
enum Blocks {
  case eighths, ascii

  /// Eighths where the locale is UTF-8, unless ASCII is asked for.
  static func preferred(ascii: Bool = false) -> Blocks { ascii || !Terminal.isUTF8 ? .ascii : .eighths }

  /// A bar to the right of exactly `width` characters; the part filled is between 0 and 1.
  ///
  /// What is not empty is never drawn as empty, and what is not full never as full.
  func bar(_ fraction: Double, width: Int) -> String {
    let steps = self == .eighths ? 8 : 1
    let filled = Self.filled(fraction, of: width * steps)
    let (whole, part) = filled.quotientAndRemainder(dividingBy: steps)
    let block: Character = self == .eighths ? "█" : "#"
    var text = String(repeating: block, count: whole)
    if part > 0 { text.append(Self.left[part - 1]) }
    return text + String(repeating: " ", count: width - text.count)
  }

  /// Columns of `height` lines, from the top, each as high as its fraction of 1.
  func columns(_ fractions: [Double], height: Int) -> [String] {
    let steps = self == .eighths ? 8 : 1
    let heights = fractions.map { Self.filled($0, of: height * steps) }
    return (0..<height).reversed().map { line in
      String(
        heights.map { filled in
          let part = min(max(filled - line * steps, 0), steps)
          if part == 0 { return " " }
          return self == .eighths ? Self.lower[part - 1] : "#"
        })
    }
  }

  private static let left: [Character] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"]
  private static let lower: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

  private static func filled(_ fraction: Double, of steps: Int) -> Int {
    if !(fraction > 0) { return 0 }
    if fraction >= 1 { return steps }
    return min(max(Int(fraction * Double(steps)), 1), max(steps - 1, 1))
  }
}
