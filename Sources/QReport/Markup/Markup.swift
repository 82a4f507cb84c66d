/// A piece of HTML or SVG. Whatever is not markup itself comes in through `text` and attributes, which escape it.
///
/// Written so that it is XML as well: SVG parts can be read by any XML parser.
struct Markup: Sendable, ExpressibleByArrayLiteral {
  private(set) var source: String

  /// Pieces one after the other.
  init(arrayLiteral pieces: Markup...) { self.init(joining: pieces) }

  /// Pieces one after the other.
  init(joining pieces: [Markup]) { source = pieces.map(\.source).joined() }

  private init(source: String) { self.source = source }

  /// Text in which nothing is taken for markup.
  static func text(_ text: String) -> Markup { Markup(source: text.escapedForMarkup) }

  /// Markup as it is, of this module's own.
  static func trusted(_ source: StaticString) -> Markup { Markup(source: source.description) }

  /// An element with its attributes in the order given; those that are nil are left out.
  static func element(
    _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String?> = [:], _ content: Markup...
  ) -> Markup {
    element(name, attributes, content)
  }

  /// An element with any number of pieces.
  static func element(
    _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String?> = [:], _ content: [Markup]
  ) -> Markup {
    var source = "<\(name)"
    for case (let key, let value?) in attributes { source += " \(key)=\"\(value.escapedForMarkup)\"" }
    if content.isEmpty, Self.closesItself.contains(name.description) { return Markup(source: source + " />") }
    source += ">"
    for piece in content { source += piece.source }
    return Markup(source: source + "</\(name)>")
  }

  /// Elements that HTML reads right when they close themselves: void ones and those of SVG.
  private static let closesItself: Set<String> = ["meta", "input", "wbr", "rect", "circle", "line", "path", "g"]

  static func + (first: Markup, second: Markup) -> Markup { Markup(source: first.source + second.source) }
}

extension String {
  /// The text for use between tags and within quotes: five characters as references.
  var escapedForMarkup: String {
    guard utf8.contains(where: { "&<>\"'".utf8.contains($0) }) else { return self }
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
