import QCodec

extension JSONParser {
  // MARK: Strings

  /// Reads a string at the cursor, which stands on its opening quote.
  mutating func string() throws(QCodecError) -> String {
    let start = position
    advance()
    var text: [UInt8] = []
    while true {
      guard let byte = peek() else { throw Self.error("a JSON string is not closed", at: start) }
      switch byte {
      case UInt8(ascii: "\""):
        advance()
        return try decoded(text, openedAt: start)
      case UInt8(ascii: "\\"):
        try escape(into: &text)
      case 0..<0x20:
        throw Self.error("control character 0x\(String(byte, radix: 16)) in a JSON string", at: position)
      default:
        text.append(byte)
        advance()
      }
    }
  }

  private func decoded(_ text: [UInt8], openedAt start: Int) throws(QCodecError) -> String {
    guard let result = String(validating: text, as: UTF8.self) else {
      throw Self.error("a JSON string is not valid UTF-8", at: start)
    }
    return result
  }

  private mutating func escape(into text: inout [UInt8]) throws(QCodecError) {
    let start = position
    advance()
    guard let byte = peek() else { throw Self.error("a JSON string is not closed", at: start) }
    advance()
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"): text.append(contentsOf: Character(try scalar(escapedAt: start)).utf8)
    default: throw Self.error("unknown escape in a JSON string", at: start)
    }
  }

  /// The scalar of a `\u` escape, whose four digits come next; a surrogate must be followed by its other half.
  private mutating func scalar(escapedAt start: Int) throws(QCodecError) -> Unicode.Scalar {
    let first = try hexadecimal(escapedAt: start)
    if let scalar = Unicode.Scalar(first) { return scalar }
    guard first < 0xDC00, peek() == UInt8(ascii: "\\") else {
      throw Self.error("an unpaired surrogate in a JSON string", at: start)
    }
    advance()
    guard peek() == UInt8(ascii: "u") else { throw Self.error("an unpaired surrogate in a JSON string", at: start) }
    advance()
    let second = try hexadecimal(escapedAt: start)
    guard (0xDC00...0xDFFF).contains(second),
      let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    else { throw Self.error("an unpaired surrogate in a JSON string", at: start) }
    return scalar
  }

  private mutating func hexadecimal(escapedAt start: Int) throws(QCodecError) -> UInt32 {
    var result: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw Self.error("\\u is not followed by four hexadecimal digits", at: start)
      }
      result = result << 4 | UInt32(digit)
      advance()
    }
    return result
  }

  // MARK: Numbers

  /// Reads a number at the cursor, which stands on its sign or first digit.
  mutating func number() throws(QCodecError) -> JSONValue {
    let start = position
    if peek() == UInt8(ascii: "-") { advance() }
    let leading = peek()
    let count = try digits("a number has no digits")
    guard count == 1 || leading != UInt8(ascii: "0") else {
      throw Self.error("a number begins with a superfluous zero", at: start)
    }
    var isInteger = true
    if peek() == UInt8(ascii: ".") {
      isInteger = false
      advance()
      _ = try digits("no digits follow the decimal point")
    }
    if let byte = peek(), byte | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      advance()
      if let sign = peek(), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { advance() }
      _ = try digits("no digits follow the exponent")
    }
    return try Self.number(String(decoding: bytes[start..<position], as: UTF8.self), isInteger, at: start)
  }

  private static func number(_ text: String, _ isInteger: Bool, at start: Int) throws(QCodecError) -> JSONValue {
    // -0 is no Int64; as a float64 it keeps its sign.
    if isInteger, text != "-0" {
      guard let value = Int64(text) else { throw error("the integer \(text) does not fit 64 bits", at: start) }
      return .integer(value)
    }
    guard let value = Double(text), value.isFinite else {
      throw error("the number \(text) exceeds the range of float64", at: start)
    }
    return .number(value)
  }

  private mutating func digits(_ complaint: String) throws(QCodecError) -> Int {
    let start = position
    while let byte = peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { advance() }
    guard position > start else { throw Self.error(complaint, at: position) }
    return position - start
  }
}
