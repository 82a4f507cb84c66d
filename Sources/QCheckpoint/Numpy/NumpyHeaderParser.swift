import QCodec

/// A strict reader of the Python literal that heads a .npy file: a dict of strings, truth values and tuples of integers.
struct NumpyHeaderParser {
  private let bytes: [UInt8]
  private var position = 0
  /// Where the literal begins in the file, for errors.
  private let base: UInt64

  private(set) var descr: String?
  private(set) var isFortranOrder: Bool?
  private(set) var shape: [UInt64]?

  init(_ bytes: [UInt8], base: UInt64) {
    self.bytes = bytes
    self.base = base
  }

  func error(_ message: String) -> QCodecError {
    QCodecError(.invalidNumpy, message, offset: base + UInt64(position))
  }

  /// Reads the dict, white space up to its end included; throws `invalidNumpy`.
  mutating func parse() throws(QCodecError) {
    try expect("{")
    while !accept("}") {
      try member()
      if !accept(",") {
        try expect("}")
        break
      }
    }
    skipSpace()
    guard position == bytes.count else { throw error("bytes follow the header's dict") }
  }

  private mutating func member() throws(QCodecError) {
    skipSpace()
    let key = try string("a key in quotes")
    try expect(":")
    skipSpace()
    let repeated: Bool
    switch key {
    case "descr":
      repeated = descr != nil
      if peek() == UInt8(ascii: "[") { throw error("structured arrays are not supported; save each field on its own") }
      descr = try string("the dtype in quotes")
    case "fortran_order":
      repeated = isFortranOrder != nil
      isFortranOrder = try bool()
    case "shape":
      repeated = shape != nil
      shape = try tuple()
    default: throw error("the header's key '\(key)' is unknown")
    }
    if repeated { throw error("the header's key '\(key)' occurs twice") }
  }

  /// A string without escapes, which no header needs.
  private mutating func string(_ what: String) throws(QCodecError) -> String {
    guard let quote = peek(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
      throw error("expected \(what)")
    }
    guard let end = bytes[(position + 1)...].firstIndex(of: quote) else { throw error("a string is not closed") }
    let text = bytes[position + 1..<end]
    guard text.allSatisfy({ (0x20..<0x7F).contains($0) && $0 != UInt8(ascii: "\\") }) else {
      throw error("a string holds something else than plain ASCII")
    }
    position = end + 1
    return String(decoding: text, as: UTF8.self)
  }

  private mutating func bool() throws(QCodecError) -> Bool {
    for (text, value) in [("True", true), ("False", false)] where bytes[position...].starts(with: Array(text.utf8)) {
      position += text.utf8.count
      return value
    }
    throw error("expected True or False")
  }

  private mutating func tuple() throws(QCodecError) -> [UInt64] {
    try expect("(")
    var result: [UInt64] = []
    if accept(")") { return result }
    while true {
      result.append(try integer())
      let comma = accept(",")
      if accept(")") {
        // (3) is no tuple but a number.
        guard comma || result.count > 1 else { throw error("a shape of one axis lacks its comma") }
        return result
      }
      guard comma else { throw error("expected ',' or ')'") }
    }
  }

  private mutating func integer() throws(QCodecError) -> UInt64 {
    skipSpace()
    let start = position
    while let byte = peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
    guard let value = UInt64(String(decoding: bytes[start..<position], as: UTF8.self)) else {
      throw error("expected an integer of 64 bits")
    }
    return value
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(QCodecError) {
    guard accept(character) else { throw error("expected '\(character)'") }
  }

  private mutating func accept(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard peek() == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }
}
