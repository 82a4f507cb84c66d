import QCodec

/// A JSON document, as policies, metadata and safetensors headers hold it.
///
/// Reading is strict (RFC 8259, no duplicate keys, no more than 128 levels, nothing after the value); writing is
/// deterministic. Keys that differ only in Unicode normalisation count as duplicates.
public indirect enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  /// A number written without fraction and exponent; exact.
  case integer(Int64)
  /// Any other number, the nearest float64.
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  /// The levels of arrays and objects that a document may have.
  public static let maximumDepth = 128

  /// Reads one document from UTF-8 bytes; throws `invalidJSON` with the byte offset of the defect.
  public init(parsing bytes: [UInt8]) throws(QCodecError) {
    var parser = JSONParser(bytes)
    self = try parser.document()
  }

  /// Reads one document from UTF-8 bytes; throws `invalidJSON` with the byte offset of the defect.
  public init(parsing bytes: UnsafeRawBufferPointer) throws(QCodecError) {
    try self.init(parsing: unsafe [UInt8](bytes))
  }

  /// Reads one document from text; throws `invalidJSON` with the byte offset of the defect in its UTF-8 form.
  public init(parsing text: String) throws(QCodecError) {
    try self.init(parsing: [UInt8](text.utf8))
  }
}

extension JSONValue {
  /// The member of an object, or nil where there is none or this is no object.
  public subscript(key: String) -> JSONValue? {
    if case .object(let members) = self { members[key] } else { nil }
  }

  /// The text of a string, else nil.
  public var stringValue: String? {
    if case .string(let value) = self { value } else { nil }
  }

  /// The value of an integer, else nil.
  public var integerValue: Int64? {
    if case .integer(let value) = self { value } else { nil }
  }

  /// The value of any number, else nil.
  public var doubleValue: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// The value of a truth value, else nil.
  public var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// The elements of an array, else nil.
  public var arrayValue: [JSONValue]? {
    if case .array(let value) = self { value } else { nil }
  }

  /// The members of an object, else nil.
  public var objectValue: [String: JSONValue]? {
    if case .object(let value) = self { value } else { nil }
  }

  /// What kind of value this is, for messages.
  package var kindName: String {
    switch self {
    case .null: "null"
    case .bool: "a truth value"
    case .integer: "an integer"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

extension JSONValue {
  /// An unsigned number; every count of a file fits.
  public static func count(_ value: UInt64) -> JSONValue { .integer(Int64(clamping: value)) }

  /// As above.
  public static func count(_ value: Int) -> JSONValue { .integer(Int64(value)) }

  /// A number, or null.
  public static func optional(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }

  /// A string, or null.
  public static func optional(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
}
