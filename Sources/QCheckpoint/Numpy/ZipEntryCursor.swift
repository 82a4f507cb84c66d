import QCodec

/// Reads the entries of a zip archive's directory one after the other.
struct ZipEntryCursor {
  /// One entry, its zip64 extension applied.
  struct Entry {
    let name: String
    /// 0 stored, 8 deflated.
    let method: UInt16
    let crc: UInt32
    var storedBytes: UInt64
    var byteCount: UInt64
    var localOffset: UInt64
    /// Where the entry stands in the archive.
    let place: UInt64
  }

  private let fields: ByteFields
  private let base: UInt64
  private var position = 0

  init(_ bytes: [UInt8], base: UInt64) {
    fields = ByteFields(bytes: bytes)
    self.base = base
  }

  private var place: UInt64 { base + UInt64(position) }

  /// The next entry; throws `invalidNumpy`.
  mutating func next() throws(QCodecError) -> Entry {
    guard fields.bytes.count - position >= 46, fields.read(position, as: UInt32.self) == 0x0201_4B50 else {
      throw ZipDirectory.error("the archive's directory is corrupt", at: place)
    }
    let start = position
    let nameLength = Int(fields.read(start + 28, as: UInt16.self))
    let extraLength = Int(fields.read(start + 30, as: UInt16.self))
    let commentLength = Int(fields.read(start + 32, as: UInt16.self))
    guard fields.bytes.count - start - 46 >= nameLength + extraLength + commentLength else {
      throw ZipDirectory.error("the archive's directory is cut short", at: place)
    }
    let name = start + 46..<start + 46 + nameLength
    var entry = Entry(
      name: try self.name(name, flags: fields.read(start + 8)), method: fields.read(start + 10),
      crc: fields.read(start + 16), storedBytes: UInt64(fields.read(start + 20, as: UInt32.self)),
      byteCount: UInt64(fields.read(start + 24, as: UInt32.self)),
      localOffset: UInt64(fields.read(start + 42, as: UInt32.self)), place: place)
    guard entry.method == 0 || entry.method == 8 else {
      throw ZipDirectory.error(
        "the member '\(entry.name)' is compressed by method \(entry.method), not stored or deflated", at: place)
    }
    try extend(&entry, extra: name.upperBound..<name.upperBound + extraLength)
    position = name.upperBound + extraLength + commentLength
    return entry
  }

  /// Refuses bytes behind the last entry.
  func finish() throws(QCodecError) {
    guard position == fields.bytes.count else {
      throw ZipDirectory.error("bytes follow the last entry of the archive's directory", at: place)
    }
  }

  private func name(_ range: Range<Int>, flags: UInt16) throws(QCodecError) -> String {
    let bytes = fields.bytes[range]
    guard flags & 1 == 0 else { throw ZipDirectory.error("a member of the archive is encrypted", at: place) }
    // Bit 11 says UTF-8; without it only ASCII means the same everywhere.
    guard flags & 0x800 != 0 || bytes.allSatisfy({ $0 < 0x80 }), !bytes.contains(0),
      let name = String(validating: bytes, as: UTF8.self)
    else { throw ZipDirectory.error("a member's name is not UTF-8", at: place) }
    return name
  }

  /// Takes from the zip64 extension what did not fit 32 bits, in the order that the format prescribes.
  private func extend(_ entry: inout Entry, extra: Range<Int>) throws(QCodecError) {
    var at = extra.lowerBound
    while extra.upperBound - at >= 4 {
      let id = fields.read(at, as: UInt16.self)
      let end = at + 4 + Int(fields.read(at + 2, as: UInt16.self))
      guard end <= extra.upperBound else { throw ZipDirectory.error("an extra field is cut short", at: place) }
      at += 4
      if id == 1 {
        for field in [\Entry.byteCount, \Entry.storedBytes, \Entry.localOffset]
        where entry[keyPath: field] == 0xFFFF_FFFF {
          guard end - at >= 8 else { throw ZipDirectory.error("a zip64 extension is cut short", at: place) }
          entry[keyPath: field] = fields.read(at)
          at += 8
        }
      }
      at = end
    }
  }
}
