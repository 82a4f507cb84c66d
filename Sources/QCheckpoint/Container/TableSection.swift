import QCodec

/// The map tables of a directory, each read once.
struct TableSection {
  private let fields: ByteFields
  private let range: Range<Int>
  private let base: UInt64
  /// Where the next table that was not yet referred to must begin.
  private var next = 0
  private var known: [Key: MapTable] = [:]
  private var seen: Set<UInt32> = []

  private struct Key: Hashable {
    let offset: UInt32
    let map: Scheme.Map
    let scaleRule: Scheme.ScaleRule
  }

  init(fields: ByteFields, range: Range<Int>, base: UInt64) {
    self.fields = fields
    self.range = range
    self.base = base
  }

  private func refuse(_ message: String, _ offset: Int) -> QCodecError {
    QCodecError(.invalidMapTable, message, offset: base + UInt64(range.lowerBound + offset))
  }

  /// The table that a record refers to; tables stand in order of first use.
  mutating func table(
    at offset: UInt32, codes: SchemeCodes, place: UInt64
  ) throws(QCodecError) -> MapTable {
    let (map, bits, signed) = (codes.map, codes.bits, codes.signed)
    let key = Key(offset: offset, map: map, scaleRule: codes.scaleRule)
    if let table = known[key], table.bits == bits, table.signed == signed { return table }
    guard seen.contains(offset) || Int(offset) == next else {
      throw QCodecError(.invalidMapTable, "no table begins at \(offset) of the tables", offset: place)
    }
    let start = Int(offset)
    guard range.count - start >= Format.tableHeaderSize else { throw refuse("a map table is cut short", start) }
    let at = range.lowerBound + start
    guard fields.bytes[at] == map.rawValue, Int(fields.bytes[at + 1]) == bits, fields.bytes[at + 2] == (signed ? 1 : 0)
    else { throw refuse("a table of another map, width or signedness than its tensor's", start) }
    let flags = fields.bytes[at + 3]
    guard flags <= 1 else {
      throw QCodecError(.reservedBits, "a reserved flag of a map table is set", offset: base + UInt64(at + 3))
    }
    let count = Int(fields.read(at + 4, as: UInt32.self))
    let expected = map == .custom ? 1 << bits : 0
    guard count == expected, range.count - start - Format.tableHeaderSize >= count * 4 else {
      throw refuse("a map table of \(count) entries", start + 4)
    }
    let table = try read(at: at, map: map, bits: bits, signed: signed, isImport: flags == 1, scaleRule: codes.scaleRule)
    known[key] = table
    if seen.insert(offset).inserted { next = start + Format.tableHeaderSize + count * 4 }
    return table
  }

  private func read(
    at: Int, map: Scheme.Map, bits: Int, signed: Bool, isImport: Bool, scaleRule: Scheme.ScaleRule
  ) throws(QCodecError) -> MapTable {
    let start = at - range.lowerBound
    let digest: UInt64 = fields.read(at + 8)
    if map != .custom {
      guard !isImport else { throw refuse("a named map marked as an import", start + 3) }
      guard MapTable.namedDigest(map, bits: bits, signed: signed) == digest else {
        throw refuse("this library's \(map.name) map has another digest, or none of that width and sign", start + 8)
      }
      do throws(QCodecError) { return try .named(map, bits: bits, signed: signed) } catch {
        throw refuse(error.message, start)
      }
    }
    let entries = (0..<(1 << bits)).map { index in
      Float(bitPattern: fields.read(at + Format.tableHeaderSize + index * 4, as: UInt32.self))
    }
    let table: MapTable
    do throws(QCodecError) {
      table = try MapTable(custom: entries, signed: signed, isImport: isImport, scaleRule: scaleRule)
    } catch {
      throw refuse(error.message, start)
    }
    guard table.digest == digest else { throw refuse("a map table's digest is wrong", start + 8) }
    return table
  }

  /// Refuses tables that no tensor refers to.
  func finish() throws(QCodecError) {
    guard next == range.count else { throw refuse("bytes of the map tables belong to no tensor", next) }
  }
}
