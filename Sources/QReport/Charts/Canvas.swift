/// An SVG under construction.
struct Canvas {
  /// The class of each variant and its width in CSS pixels.
  static let widths = [("wide", 728.0), ("narrow", 358.0)]
  let width: Double
  /// Set by whoever draws.
  var height = 0.0
  private var content: [Markup] = []
  private var marks: [Markup] = []

  init(width: Double) { self.width = width }

  var isNarrow: Bool { width < 500 }

  // MARK: Text that is not measured

  /// What a character takes at most, in the usual size of 13 pixels: fonts differ, and few in use are wider than these.
  private static func width(of scalar: Unicode.Scalar) -> Double {
    switch scalar {
    case "i", "j", "l", "t", "f", "r", "I", ".", ",", ":", ";", "'", "|", "!", "(", ")", "[", "]", "/", " ", "-": 5.6
    case "m", "w", "M", "W", "@", "%", "&", "…": 13.2
    case "a"..."z", "0"..."9", "_", "?", "\\", "{", "}": 8.4
    case _ where scalar.value < 0x1100: 11
    // From Hangul on most characters are as wide as they are high.
    default: 15
    }
  }

  /// What a text takes at most, in the usual size.
  static func width(of text: String) -> Double { text.unicodeScalars.reduce(0) { $0 + width(of: $1) } }

  /// A text from a file, cut in its middle to a width.
  static func fitted(_ text: String, _ room: Double) -> String {
    var limit = max(3, Int(room / 5.6))
    var result = text.visible(limit: limit)
    while limit > 3, width(of: result) > room {
      limit -= 1
      result = text.visible(limit: limit)
    }
    return width(of: result) > room ? "" : result
  }

  /// A name from a file in lines that are broken between its parts: all of it, or the end of it, or a line that is cut
  /// where there is room for one.
  static func wrapped(_ name: String, _ room: Double, lines most: Int) -> [String] {
    let parts = NameParts.split(name).map { $0.visible(limit: 400) }
    for start in parts.indices {
      var lines = start == 0 ? [] : ["…"]
      for part in parts[start...] {
        if let last = lines.last, width(of: last + part) <= room {
          lines[lines.count - 1] += part
        } else {
          lines.append(part)
        }
      }
      if lines.count <= most, lines.allSatisfy({ width(of: $0) <= room }) { return lines }
    }
    // Of fewer characters nothing would be recognised.
    return room < 64 ? [] : [fitted(name, room)]
  }

  // MARK: Shapes

  /// Where text stands relative to its place.
  enum Anchor: String { case start, middle, end }

  mutating func text(
    _ text: String, _ x: Double, _ y: Double, anchor: Anchor = .start, styleClass: String? = nil
  ) {
    content.append(
      .element(
        "text",
        [
          "x": Self.number(x), "y": Self.number(y), "text-anchor": anchor == .start ? nil : anchor.rawValue,
          "class": styleClass,
        ], .text(text)))
  }

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, styleClass: String) {
    content.append(
      .element(
        "line",
        [
          "x1": Self.number(x1), "y1": Self.number(y1), "x2": Self.number(x2), "y2": Self.number(y2),
          "class": styleClass,
        ]))
  }

  mutating func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, styleClass: String) {
    content.append(Self.rectangle(x, y, width, height, styleClass: styleClass))
  }

  mutating func path(_ points: [(x: Double, y: Double)], styleClass: String) {
    let steps = points.enumerated().map {
      "\($0.offset == 0 ? "M" : "L")\(Self.number($0.element.x)) \(Self.number($0.element.y))"
    }
    content.append(.element("path", ["d": steps.joined(), "class": styleClass]))
  }

  // MARK: Marks

  /// Adds a mark: shapes that the pointer and the keyboard can reach, with what they say.
  mutating func mark(_ label: String, styleClass: String, _ shapes: Markup...) {
    marks.append(
      .element(
        "g",
        [
          "class": "mark \(styleClass)", "role": "img", "aria-label": label,
          // The first is reached by Tab, the others by arrow keys; see the script.
          "tabindex": marks.isEmpty ? "0" : "-1",
        ], [.element("title", [:], .text(label))] + shapes))
  }

  static func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, styleClass: String? = nil
  ) -> Markup {
    .element(
      "rect",
      [
        "x": number(x), "y": number(y), "width": number(max(0, width)), "height": number(max(0, height)),
        "class": styleClass,
      ])
  }

  static func circle(_ x: Double, _ y: Double, _ radius: Double, styleClass: String? = nil) -> Markup {
    .element("circle", ["cx": number(x), "cy": number(y), "r": number(radius), "class": styleClass])
  }

  /// A square that stands on a corner.
  static func diamond(_ x: Double, _ y: Double, _ radius: Double, styleClass: String? = nil) -> Markup {
    let r = radius * 1.25
    let corners = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
    let steps = corners.enumerated().map {
      "\($0.offset == 0 ? "M" : "L")\(number($0.element.0)) \(number($0.element.1))"
    }
    return .element("path", ["d": steps.joined() + "Z", "class": styleClass])
  }

  // MARK: The whole

  func markup(id: String, styleClass: String, title: String, summary: String) -> Markup {
    .element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg", "class": "chart \(styleClass)",
        "viewBox": "0 0 \(Self.number(width)) \(Self.number(height))", "width": Self.number(width),
        "height": Self.number(height), "role": "group", "aria-labelledby": "\(id)-t", "aria-describedby": "\(id)-d",
      ],
      [
        .element("title", ["id": "\(id)-t"], .text(title)), .element("desc", ["id": "\(id)-d"], .text(summary)),
      ] + content + marks)
  }

  /// A coordinate to a tenth of a pixel.
  static func number(_ value: Double) -> String {
    let tenths = (value * 10).rounded()
    precondition(tenths.magnitude < 1e9, "a coordinate of \(value)")
    let (whole, rest) = Int(tenths.magnitude).quotientAndRemainder(dividingBy: 10)
    return "\(tenths < 0 ? "-" : "")\(whole)\(rest == 0 ? "" : ".\(rest)")"
  }
}
