import QCodec

/// One member of a zip archive, its local header checked against the directory's.
struct ZipMember {
  let name: String
  let isDeflated: Bool
  let crc: UInt32
  /// Where its data lie in the archive.
  let offset: UInt64
  let storedBytes: UInt64
  let byteCount: UInt64
}

/// The directory of a zip archive (zip64 included), read from its end.
///
/// Stored and deflated members of a single-disk archive; encrypted ones, duplicate names and members that overlap each
/// other or the directory are refused.
struct ZipDirectory {
  private static let endSize: UInt64 = 22
  private static let locatorSize: UInt64 = 20
  private static let end64Size: UInt64 = 56

  let members: [ZipMember]

  /// Reads the directory; throws `invalidNumpy` with the byte offset of the defect, and `io`.
  init(_ input: InputFile) throws(QCodecError) {
    let place = try Self.place(input)
    let bytes = try input.bytes(at: place.offset, count: Int(place.byteCount))
    var cursor = ZipEntryCursor(bytes, base: place.offset)
    var members: [ZipMember] = []
    var names: Set<[UInt8]> = []
    for _ in 0..<place.count {
      let entry = try cursor.next()
      guard names.insert(Array(entry.name.utf8)).inserted else {
        throw QCodecError(.invalidNumpy, "two members are named '\(entry.name)'", offset: entry.place)
      }
      members.append(try Self.located(entry, in: input, end: place.offset))
    }
    try cursor.finish()
    try Self.checkOverlaps(members)
    self.members = members
  }

  static func error(_ message: String, at offset: UInt64) -> QCodecError {
    QCodecError(.invalidNumpy, message, offset: offset)
  }

  // MARK: The end of the archive

  private static func place(
    _ input: InputFile
  ) throws(QCodecError) -> (offset: UInt64, byteCount: UInt64, count: UInt64) {
    let length = input.byteCount
    let tailLength = min(length, endSize + 65_535)
    let tail = ByteFields(bytes: try input.bytes(at: length - tailLength, count: Int(tailLength)))
    guard let start = endRecord(tail) else {
      throw error("the archive's end record is missing: is it cut short?", at: length)
    }
    let end = length - tailLength + UInt64(start)
    let disks = tail.read(start + 4, as: UInt32.self)
    var count = UInt64(tail.read(start + 10, as: UInt16.self))
    var byteCount = UInt64(tail.read(start + 12, as: UInt32.self))
    var offset = UInt64(tail.read(start + 16, as: UInt32.self))
    var directoryEnd = end
    if count == 0xFFFF || byteCount == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
      (offset, byteCount, count, directoryEnd) = try place64(input, before: end)
    } else {
      guard disks == 0, tail.read(start + 8, as: UInt16.self) == UInt16(count) else {
        throw error("the archive spans several disks", at: end)
      }
    }
    guard offset <= directoryEnd, byteCount == directoryEnd - offset else {
      throw error("the archive's directory does not end where its end record begins", at: end)
    }
    // 46 bytes is the least that an entry has.
    guard count <= byteCount / 46 else { throw error("\(count) members in a directory of \(byteCount) bytes", at: end) }
    return (offset, byteCount, count)
  }

  /// Where the end record begins: the last signature whose comment reaches exactly to the end.
  private static func endRecord(_ tail: ByteFields) -> Int? {
    let last = tail.bytes.count - Int(endSize)
    guard last >= 0 else { return nil }
    return (0...last).reversed().first {
      tail.read($0, as: UInt32.self) == 0x0605_4B50
        && Int(tail.read($0 + 20, as: UInt16.self)) == tail.bytes.count - $0 - Int(endSize)
    }
  }

  private static func place64(
    _ input: InputFile, before end: UInt64
  ) throws(QCodecError) -> (offset: UInt64, byteCount: UInt64, count: UInt64, end: UInt64) {
    guard end >= locatorSize + end64Size else { throw error("the archive's zip64 end record is missing", at: end) }
    let locator = ByteFields(bytes: try input.bytes(at: end - locatorSize, count: Int(locatorSize)))
    let start: UInt64 = locator.read(8)
    guard locator.read(0, as: UInt32.self) == 0x0706_4B50, locator.read(4, as: UInt32.self) == 0,
      locator.read(16, as: UInt32.self) <= 1, start <= end - locatorSize - end64Size
    else { throw error("the archive's zip64 locator is invalid", at: end - locatorSize) }
    let fields = ByteFields(bytes: try input.bytes(at: start, count: Int(end64Size)))
    guard fields.read(0, as: UInt32.self) == 0x0606_4B50, fields.read(16, as: UInt64.self) == 0,
      fields.read(24, as: UInt64.self) == fields.read(32, as: UInt64.self),
      // Nothing between this record and its locator.
      fields.read(4, as: UInt64.self) == end - locatorSize - start - 12
    else { throw error("the archive's zip64 end record is invalid", at: start) }
    return (fields.read(48), fields.read(40), fields.read(32), start)
  }

  // MARK: Members

  private static func located(
    _ entry: ZipEntryCursor.Entry, in input: InputFile, end: UInt64
  ) throws(QCodecError) -> ZipMember {
    let start = entry.localOffset
    guard start <= end, end - start >= 30 else {
      throw error("the member '\(entry.name)' lies outside the archive", at: entry.place)
    }
    let header = ByteFields(bytes: try input.bytes(at: start, count: 30))
    let nameLength = UInt64(header.read(26, as: UInt16.self))
    let extraLength = UInt64(header.read(28, as: UInt16.self))
    guard header.read(0, as: UInt32.self) == 0x0403_4B50, header.read(8, as: UInt16.self) == entry.method,
      nameLength == UInt64(entry.name.utf8.count), end - start - 30 >= nameLength + extraLength
    else { throw error("the member '\(entry.name)' has an invalid local header", at: start) }
    guard try input.bytes(at: start + 30, count: Int(nameLength)) == Array(entry.name.utf8) else {
      throw error("the member '\(entry.name)' has another name in its local header", at: start)
    }
    let offset = start + 30 + nameLength + extraLength
    guard entry.storedBytes <= end - offset else {
      throw error("the member '\(entry.name)' reaches into the archive's directory", at: entry.place)
    }
    let isDeflated = entry.method == 8
    let ratio = isDeflated ? Inflate.maximumRatio : 1
    guard entry.byteCount / ratio <= entry.storedBytes, isDeflated || entry.byteCount == entry.storedBytes else {
      throw error("the member '\(entry.name)' states impossible lengths", at: entry.place)
    }
    return ZipMember(
      name: entry.name, isDeflated: isDeflated, crc: entry.crc, offset: offset, storedBytes: entry.storedBytes,
      byteCount: entry.byteCount)
  }

  private static func checkOverlaps(_ members: [ZipMember]) throws(QCodecError) {
    var end: UInt64 = 0
    for member in members.sorted(by: { ($0.offset, $0.storedBytes) < ($1.offset, $1.storedBytes) }) {
      guard member.offset >= end else {
        throw error("the member '\(member.name)' overlaps another", at: member.offset)
      }
      end = member.offset + member.storedBytes
    }
  }
}
