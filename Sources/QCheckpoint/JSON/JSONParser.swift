import QCodec

/// The strict reader of JSON: a cursor over the document's bytes.
///
/// Formats whose errors need places inside a document (safetensors) drive it member by member.
package struct JSONParser {
  let bytes: [UInt8]
  /// The offset of the next byte.
  package private(set) var position: Int
  private let end: Int
  private var depth = 0

  package init(_ bytes: [UInt8]) {
    self.init(bytes, range: 0..<bytes.count)
  }

  /// A reader of `range` of `bytes`; offsets count from the start of `bytes`.
  package init(_ bytes: [UInt8], range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "range outside the bytes")
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  package static func error(_ message: String, at offset: Int) -> QCodecError {
    QCodecError(.invalidJSON, message, offset: UInt64(offset))
  }

  /// The whole document: one value and nothing but white space around it.
  package mutating func document() throws(QCodecError) -> JSONValue {
    let result = try value()
    try finish()
    return result
  }

  /// Refuses anything but white space before the end.
  package mutating func finish() throws(QCodecError) {
    skipSpace()
    guard position == end else { throw Self.error("bytes follow the JSON value", at: position) }
  }

  /// The next value, white space before it skipped.
  package mutating func value() throws(QCodecError) -> JSONValue {
    skipSpace()
    guard let byte = peek() else { throw Self.error("the JSON text ends where a value should be", at: position) }
    switch byte {
    case UInt8(ascii: "{"):
      var members: [String: JSONValue] = [:]
      try self.members { (parser, key, offset) throws(QCodecError) in
        guard members.updateValue(try parser.value(), forKey: key) == nil else {
          throw Self.error("duplicate key \"\(key)\"", at: offset)
        }
      }
      return .object(members)
    case UInt8(ascii: "["): return .array(try elements())
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw Self.error("unexpected byte 0x\(String(byte, radix: 16)) in JSON", at: position)
    }
  }

  /// Reads an object: `body` is given each key and its offset and must consume the value.
  package mutating func members(
    _ body: (inout JSONParser, String, Int) throws(QCodecError) -> Void
  ) throws(QCodecError) {
    try open(UInt8(ascii: "{"), "an object")
    if close(UInt8(ascii: "}")) { return }
    while true {
      skipSpace()
      let offset = position
      guard peek() == UInt8(ascii: "\"") else { throw Self.error("expected a key in quotes", at: position) }
      let key = try string()
      skipSpace()
      guard peek() == UInt8(ascii: ":") else { throw Self.error("expected ':' after a key", at: position) }
      position += 1
      try body(&self, key, offset)
      if close(UInt8(ascii: "}")) { return }
      try comma(or: "}")
    }
  }

  private mutating func elements() throws(QCodecError) -> [JSONValue] {
    try open(UInt8(ascii: "["), "an array")
    var result: [JSONValue] = []
    if close(UInt8(ascii: "]")) { return result }
    while true {
      result.append(try value())
      if close(UInt8(ascii: "]")) { return result }
      try comma(or: "]")
    }
  }

  private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(QCodecError) -> JSONValue {
    let expected = Array(text.description.utf8)
    guard end - position >= expected.count, bytes[position..<position + expected.count].elementsEqual(expected) else {
      throw Self.error("expected \(text)", at: position)
    }
    position += expected.count
    return value
  }

  // MARK: Structure

  private mutating func open(_ byte: UInt8, _ kind: String) throws(QCodecError) {
    skipSpace()
    guard peek() == byte else { throw Self.error("expected \(kind)", at: position) }
    guard depth < JSONValue.maximumDepth else {
      throw Self.error("JSON is nested deeper than \(JSONValue.maximumDepth) levels", at: position)
    }
    depth += 1
    position += 1
  }

  private mutating func close(_ byte: UInt8) -> Bool {
    skipSpace()
    guard peek() == byte else { return false }
    depth -= 1
    position += 1
    return true
  }

  private mutating func comma(or closing: String) throws(QCodecError) {
    guard peek() == UInt8(ascii: ",") else { throw Self.error("expected ',' or '\(closing)'", at: position) }
    position += 1
  }

  package mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  func peek() -> UInt8? { position < end ? bytes[position] : nil }

  mutating func advance() { position += 1 }
}
