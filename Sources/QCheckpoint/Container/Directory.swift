import QCodec

/// The directory of a checkpoint, read and checked in full.
struct Directory: Sendable {
  let records: [TensorRecord]
  let dims: [UInt64]
  let chunks: [ChunkRecord]
  let pairs: [PairRecord]
  /// The names, end to end, in record order.
  let names: [UInt8]

  func name(_ index: Int) -> ArraySlice<UInt8> {
    let record = records[index]
    return names[Int(record.nameOffset)..<Int(record.nameOffset) + Int(record.nameLength)]
  }

  func shape(_ index: Int) -> [UInt64] {
    let record = records[index]
    return Array(dims[Int(record.dimsIndex)..<Int(record.dimsIndex) + Int(record.dimCount)])
  }

  /// The chunks that a tensor's record implies; throws `invalidScheme` for what no scheme is.
  func plan(_ index: Int) throws(QCodecError) -> ChunkPlan {
    let record = records[index]
    guard let scheme = record.scheme else { return ChunkPlan(layout: nil, sourceBytes: record.sourceBytes) }
    let layout = try TensorLayout(dtype: record.dtype, shape: shape(index), scheme: scheme)
    return ChunkPlan(layout: layout, sourceBytes: record.sourceBytes)
  }

  /// The record of a name by binary search, or nil.
  func find(_ name: [UInt8]) -> Int? {
    var (low, high) = (0, records.count)
    while low < high {
      let middle = (low + high) / 2
      if self.name(middle).lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
    }
    return low < records.count && self.name(low).elementsEqual(name) ? low : nil
  }
}
