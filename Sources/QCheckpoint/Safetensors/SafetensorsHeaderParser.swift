import QCodec

/// Reads the JSON header of a safetensors file member by member, so that every defect has its place in the file.
struct SafetensorsHeaderParser {
  /// What the header says of a tensor; offsets count from the end of the header.
  struct Entry {
    let name: String
    let dtype: DType
    let shape: [UInt64]
    let begin: UInt64
    let end: UInt64
    /// Where the entry stands in the file.
    let place: UInt64

    func refuse(_ message: String) -> QCodecError {
      QCodecError(.invalidSafetensors, message, offset: place, tensor: name)
    }
  }

  private static let headerOffset = 8

  private var parser: JSONParser
  private(set) var entries: [Entry] = []
  private(set) var metadata: [String: String] = [:]
  /// As bytes: names that differ only in Unicode normalisation are different names.
  private var names: Set<[UInt8]> = []

  init(_ header: [UInt8]) {
    parser = JSONParser(header)
  }

  /// Reads the whole header; throws `invalidSafetensors` with the byte offset in the file.
  mutating func parse() throws(QCodecError) {
    do throws(QCodecError) {
      var parser = parser
      try parser.members { (parser, key, offset) throws(QCodecError) in
        try member(key, at: offset, &parser)
      }
      try parser.finish()
    } catch {
      guard error.code == .invalidJSON else { throw error }
      throw Self.error(error.message, at: Int(error.offset ?? 0), tensor: error.tensor)
    }
  }

  private static func error(_ message: String, at offset: Int, tensor: String? = nil) -> QCodecError {
    QCodecError(.invalidSafetensors, message, offset: UInt64(offset + headerOffset), tensor: tensor)
  }

  private mutating func member(_ key: String, at offset: Int, _ parser: inout JSONParser) throws(QCodecError) {
    guard names.insert(Array(key.utf8)).inserted else {
      throw Self.error("the key occurs twice", at: offset, tensor: key)
    }
    if key == "__metadata__" {
      try readMetadata(&parser)
    } else {
      do throws(QCodecError) {
        entries.append(try Self.entry(key, at: offset, &parser))
      } catch {
        throw error.named(key)
      }
    }
  }

  private mutating func readMetadata(_ parser: inout JSONParser) throws(QCodecError) {
    var metadata: [String: String] = [:]
    try parser.members { (parser, key, offset) throws(QCodecError) in
      guard case .string(let text) = try parser.value() else {
        throw Self.error("the value of \"\(key)\" in __metadata__ is no string", at: offset)
      }
      guard metadata.updateValue(text, forKey: key) == nil else {
        throw Self.error("the key \"\(key)\" occurs twice in __metadata__", at: offset)
      }
    }
    self.metadata = metadata
  }

  private static func entry(
    _ name: String, at place: Int, _ parser: inout JSONParser
  ) throws(QCodecError) -> Entry {
    var dtype: DType?
    var shape: [UInt64]?
    var offsets: [UInt64]?
    try parser.members { (parser, key, offset) throws(QCodecError) in
      let repeated: Bool
      switch key {
      case "dtype":
        repeated = dtype != nil
        dtype = try Self.dtype(&parser, at: offset)
      case "shape":
        repeated = shape != nil
        shape = try Self.counts(&parser, key, at: offset)
      case "data_offsets":
        repeated = offsets != nil
        offsets = try Self.counts(&parser, key, at: offset)
      default: throw Self.error("the member \"\(key)\" is unknown", at: offset)
      }
      if repeated { throw Self.error("the member \"\(key)\" occurs twice", at: offset) }
    }
    guard let dtype else { throw error("the dtype is missing", at: place) }
    guard let shape else { throw error("the shape is missing", at: place) }
    guard let offsets else { throw error("the data_offsets are missing", at: place) }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw error("the data_offsets are not a begin and an end that is not below it", at: place)
    }
    let entry = Entry(
      name: name, dtype: dtype, shape: shape, begin: offsets[0], end: offsets[1],
      place: UInt64(place + headerOffset))
    let bytes = try SafetensorsEntry.byteCount(dtype: dtype, shape: shape) { entry.refuse($0) }
    guard bytes == offsets[1] - offsets[0] else {
      throw entry.refuse(
        "\(dtype.name) \(shape) has \(bytes) bytes, its data_offsets span \(offsets[1] - offsets[0])")
    }
    return entry
  }

  private static func dtype(_ parser: inout JSONParser, at offset: Int) throws(QCodecError) -> DType {
    guard case .string(let name) = try parser.value() else { throw error("the dtype is no string", at: offset) }
    guard let dtype = DType(name: name), SafetensorsEntry.isStorable(dtype) else {
      throw error("\"\(name)\" is no safetensors dtype", at: offset)
    }
    return dtype
  }

  private static func counts(
    _ parser: inout JSONParser, _ key: String, at offset: Int
  ) throws(QCodecError) -> [UInt64] {
    guard case .array(let elements) = try parser.value() else { throw error("the \(key) is no array", at: offset) }
    var result: [UInt64] = []
    for element in elements {
      guard let value = element.integerValue, value >= 0 else {
        throw error("the \(key) holds something else than integers of 0 or more", at: offset)
      }
      result.append(UInt64(value))
    }
    return result
  }
}

extension SafetensorsEntry {
  /// Whether safetensors has a name for a dtype.
  static func isStorable(_ dtype: DType) -> Bool { dtype != .c128 }

  /// The bytes of a tensor; the product overflows in the order of the axes, as in the format's own reader, even if a
  /// later axis has length 0.
  static func byteCount(
    dtype: DType, shape: [UInt64], refuse: (String) -> QCodecError
  ) throws(QCodecError) -> UInt64 {
    var elements: UInt64 = 1
    for length in shape {
      let (product, overflow) = elements.multipliedReportingOverflow(by: length)
      guard !overflow else { throw refuse("the shape \(shape) exceeds 2^64 elements") }
      elements = product
    }
    do throws(QCodecError) {
      return try dtype.byteCount(elements: elements)
    } catch {
      throw refuse(error.message)
    }
  }
}
