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
    let order = tensors.indices.sorted { tensors[$0].name.lexicographicallyPrecedes(tensors[$1].name) }
    var rank = [UInt32](repeating: 0, count: tensors.count)
    for (position, index) in order.enumerated() { rank[index] = UInt32(position) }
    var (records, dims, names) = (ByteWriter(), ByteWriter(), ByteWriter())
    for index in order {
      var record = tensors[index].record
      record.nameOffset = UInt64(names.bytes.count)
      record.nameLength = UInt32(tensors[index].name.count)
      record.dimsIndex = UInt64(dims.bytes.count / 8)
      record.reference = record.reference.map { Int(rank[$0]) }
      if let scheme = record.scheme, let table = record.table {
        record.tableOffset = offset(of: table, map: scheme.map)
      }
      record.write(to: &records)
      for length in tensors[index].dims { dims.write(length) }
      names.write(contentsOf: tensors[index].name)
    }
    var result = ByteWriter()
    result.write(UInt64(tensors.count))
    result.write(UInt64(chunks.count))
    result.write(UInt64(dims.bytes.count / 8))
    result.write(UInt64(tables.bytes.count))
    result.write(UInt64(names.bytes.count))
    result.write(UInt64(pairs.count))
    result.write(zeros: 16)
    result.write(contentsOf: records.bytes)
    result.write(contentsOf: dims.bytes)
    for var chunk in chunks {
      chunk.tensor = rank[Int(chunk.tensor)]
      chunk.write(to: &result)
    }
    let renumbered = pairs.map { PairRecord(first: rank[Int($0.first)], second: rank[Int($0.second)], error: $0.error) }
    for pair in renumbered.sorted(by: { $0.first < $1.first }) { pair.write(to: &result) }
    result.write(contentsOf: tables.bytes)
    result.write(contentsOf: names.bytes)
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
