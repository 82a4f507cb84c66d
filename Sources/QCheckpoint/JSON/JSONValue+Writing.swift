extension JSONValue {
  /// The document as text: keys sorted by their UTF-8 bytes, numbers in their shortest exact form, non-finite
  /// numbers as null; equal values give equal text.
  ///
  /// - Parameter pretty: one member a line, indented by two spaces, instead of no white space at all.
  public func serialized(pretty: Bool = false) -> String {
    var text = ""
    write(into: &text, indent: pretty ? 0 : nil)
    return text
  }

  private func write(into text: inout String, indent: Int?) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    case .number(let value): text += value.isFinite ? value.description : "null"
    case .string(let value): Self.write(string: value, into: &text)
    case .array(let elements):
      Self.write(list: elements, brackets: ("[", "]"), into: &text, indent: indent) { element, text, inner in
        element.write(into: &text, indent: inner)
      }
    case .object(let members):
      let sorted = members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
      Self.write(list: sorted, brackets: ("{", "}"), into: &text, indent: indent) { member, text, inner in
        Self.write(string: member.key, into: &text)
        text += inner == nil ? ":" : ": "
        member.value.write(into: &text, indent: inner)
      }
    }
  }

  private static func write<Element>(
    list: [Element], brackets: (String, String), into text: inout String, indent: Int?,
    element write: (Element, inout String, Int?) -> Void
  ) {
    text += brackets.0
    let inner = indent.map { $0 + 1 }
    for (index, element) in list.enumerated() {
      if index > 0 { text += "," }
      if let inner { newLine(in: &text, indent: inner) }
      write(element, &text, inner)
    }
    if let indent, !list.isEmpty { newLine(in: &text, indent: indent) }
    text += brackets.1
  }

  private static func newLine(in text: inout String, indent: Int) {
    text += "\n"
    for _ in 0..<indent { text += "  " }
  }

  /// Appends `string` in quotes; only what JSON demands is escaped.
  package static func write(string: String, into text: inout String) {
    // Nearly no string needs an escape.
    if string.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
      text += "\""
      text += string
      text += "\""
      return
    }
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{8}": text += "\\b"
      case "\u{C}": text += "\\f"
      case "\0"..<" ":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
