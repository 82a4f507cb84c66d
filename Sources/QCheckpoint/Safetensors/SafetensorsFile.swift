import QCodec

/// One tensor of a safetensors file.
public struct SafetensorsEntry: Sendable, Hashable {
  /// The tensor's name, which the format does not restrict.
  public let name: String
  /// The type of its elements.
  public let dtype: DType
  /// The lengths of its axes, C order.
  public let shape: [UInt64]
  /// Where its bytes begin, counted from the start of the file.
  public let offset: UInt64
  /// Its length, as dtype and shape imply.
  public let byteCount: UInt64
}

/// A safetensors file opened for reading: the header in memory, tensors read when they are asked for.
///
/// As strict as the format's own reader: tensors lie one after the other without hole or overlap from the header to
/// the end of the file, no name occurs twice, and every size follows from dtype and shape.
public struct SafetensorsFile: Sendable {
  /// The longest header that the format allows, in bytes.
  public static let maximumHeader = 100_000_000

  /// The file that is read.
  public let input: InputFile
  /// The tensors in the order of their bytes; where several are empty, in the header's order.
  public let entries: [SafetensorsEntry]
  /// The `__metadata__` of the header.
  public let metadata: [String: String]

  /// Reads and checks the header; throws `io` and, with the byte offset of the defect, `invalidSafetensors`.
  public init(input: InputFile) throws(QCodecError) {
    self.input = input
    let header = try Self.headerBytes(input)
    var parser = SafetensorsHeaderParser(header)
    try parser.parse()
    metadata = parser.metadata
    entries = try Self.placed(parser.entries, dataOffset: 8 + UInt64(header.count), fileLength: input.byteCount)
  }

  /// Reads and checks the header of the file at `path`; throws as `init(input:)`.
  public init(path: String) throws(QCodecError) {
    try self.init(input: InputFile(path: path))
  }

  /// The bytes of one of the file's tensors.
  public func source(of entry: SafetensorsEntry) -> FileRangeSource {
    FileRangeSource(file: input, offset: entry.offset, byteCount: entry.byteCount)
  }

  private static func headerBytes(_ input: InputFile) throws(QCodecError) -> [UInt8] {
    guard input.byteCount >= 8 else {
      throw QCodecError(.invalidSafetensors, "the file ends within the header's length", offset: input.byteCount)
    }
    let length: UInt64 = ByteFields(bytes: try input.bytes(at: 0, count: 8)).read(0)
    guard length <= UInt64(maximumHeader) else {
      throw QCodecError(.invalidSafetensors, "a header of \(length) bytes, \(maximumHeader) at most", offset: 0)
    }
    guard length <= input.byteCount - 8 else {
      throw QCodecError(
        .invalidSafetensors, "a header of \(length) bytes in a file of \(input.byteCount)", offset: 0)
    }
    let header = try input.bytes(at: 8, count: Int(length))
    guard header.first == UInt8(ascii: "{") else {
      throw QCodecError(.invalidSafetensors, "the header does not begin with '{'", offset: 8)
    }
    return header
  }

  /// The tensors in the order of their bytes, once those are known to fill the file exactly.
  private static func placed(
    _ entries: [SafetensorsHeaderParser.Entry], dataOffset: UInt64, fileLength: UInt64
  ) throws(QCodecError) -> [SafetensorsEntry] {
    let order = entries.indices.sorted {
      (entries[$0].begin, entries[$0].end, $0) < (entries[$1].begin, entries[$1].end, $1)
    }
    let dataLength = fileLength - dataOffset
    var result: [SafetensorsEntry] = []
    result.reserveCapacity(entries.count)
    var position: UInt64 = 0
    for index in order {
      let entry = entries[index]
      guard entry.begin == position else {
        let defect = entry.begin > position ? "a hole" : "an overlap"
        throw entry.refuse("its data begin at \(entry.begin), not at \(position): there is \(defect)")
      }
      guard entry.end <= dataLength else {
        throw entry.refuse("its data end at \(entry.end) of \(dataLength) data bytes: the file is cut short")
      }
      position = entry.end
      result.append(
        SafetensorsEntry(
          name: entry.name, dtype: entry.dtype, shape: entry.shape, offset: dataOffset + entry.begin,
          byteCount: entry.end - entry.begin))
    }
    guard position == dataLength else {
      throw QCodecError(
        .invalidSafetensors, "\(dataLength - position) bytes follow the last tensor", offset: dataOffset + position)
    }
    return result
  }
}
