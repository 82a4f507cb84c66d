import QCodec

/// Lays out a directory: header, tensor records by name, dims, chunk records in file order, pair records, map tables,
/// names.
struct DirectoryBuilder {
  private var tables = ByteWriter()
  /// Where each distinct table stands.
  private var tableOffsets: [TableKey: UInt32] = [:]

  private struct TableKey: Hashable {
    let map: Scheme.Map
    let bits: Int
    let signed: Bool
    let isImport: Bool
    let digest: UInt64
  }

  /// The directory's bytes. Chunks, pairs and references name tensors in order of addition and are renumbered here.
  mutating func build(
    tensors: [(name: [UInt8], dims: [UInt64], record: TensorRecord)], chunks: [ChunkRecord], pairs: [PairRecord]
  ) -> [UInt8] {
    let order = NameOrder.sorted(tensors.map(\.name))
    var rank = [UInt32](repeating: 0, count: tensors.count)
    for (position, index) in order.enumerated() { rank[index] = UInt32(position) }
    // Tables stand behind the records, which say where; they stand in the order of their first use.
    let offsets = order.map { index -> UInt32 in
      guard let map = tensors[index].record.scheme?.map, let table = tensors[index].record.table else {
        return Format.noTable
      }
      return offset(of: table, map: map)
    }
    let dimCount = tensors.reduce(0) { $0 + $1.dims.count }
    let nameBytes = tensors.reduce(0) { $0 + $1.name.count }
    let sections = DirectorySections(
      tensors: tensors.count, dims: dimCount, chunks: chunks.count, pairs: pairs.count, tableBytes: tables.bytes.count)
    var result = ByteWriter(capacity: sections.namesStart + nameBytes)
    for count in [tensors.count, chunks.count, dimCount, tables.bytes.count, nameBytes, pairs.count] {
      result.write(UInt64(count))
    }
    result.write(zeros: 16)
    var (nameOffset, dimsIndex) = (UInt64(0), UInt64(0))
    for (position, index) in order.enumerated() {
      var record = tensors[index].record
      (record.nameOffset, record.nameLength) = (nameOffset, UInt32(tensors[index].name.count))
      record.dimsIndex = dimsIndex
      record.reference = record.reference.map { Int(rank[$0]) }
      record.tableOffset = offsets[position]
      record.write(to: &result)
      nameOffset += UInt64(record.nameLength)
      dimsIndex += UInt64(tensors[index].dims.count)
    }
    for index in order { for length in tensors[index].dims { result.write(length) } }
    for var chunk in chunks {
      chunk.tensor = rank[Int(chunk.tensor)]
      chunk.write(to: &result)
    }
    let renumbered = pairs.map { PairRecord(first: rank[Int($0.first)], second: rank[Int($0.second)], error: $0.error) }
    for pair in renumbered.sorted(by: { $0.first < $1.first }) { pair.write(to: &result) }
    result.write(contentsOf: tables.bytes)
    for index in order { result.write(contentsOf: tensors[index].name) }
    return result.bytes
  }

  private mutating func offset(of table: MapTable, map: Scheme.Map) -> UInt32 {
    let key = TableKey(
      map: map, bits: table.bits, signed: table.signed, isImport: table.isImport, digest: table.digest)
    if let offset = tableOffsets[key] { return offset }
    let offset = UInt32(tables.bytes.count)
    tableOffsets[key] = offset
    tables.write(map.rawValue)
    tables.write(UInt8(table.bits))
    tables.write(UInt8(table.signed ? 1 : 0))
    tables.write(UInt8(table.isImport ? 1 : 0))
    // A named map is known by its digest; only a custom one needs its entries.
    let entries = map == .custom ? table.entries : []
    tables.write(UInt32(entries.count))
    tables.write(table.digest)
    for entry in entries { tables.write(entry) }
    return offset
  }
}
