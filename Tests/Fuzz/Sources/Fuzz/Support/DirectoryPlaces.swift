/// Where the sections of a directory begin, by Spec/Checkpoint.md and apart from the library.
struct DirectoryPlaces {
  let tensors: Int
  let chunks: Int
  let dims: Int
  let pairs: Int
  let tables: Int
  let names: Int

  /// nil for counts that do not fit the bytes.
  init?(_ directory: [UInt8]) {
    guard directory.count >= 64 else { return nil }
    let counts = (0..<6).map { directory.word($0 * 8) }
    var rest = UInt64(directory.count - 64)
    for (count, size) in zip(counts, [136, 32, 8, 1, 1, 56] as [UInt64]) {
      guard count <= rest / size else { return nil }
      rest -= count * size
    }
    (tensors, chunks, dims) = (Int(counts[0]), Int(counts[1]), Int(counts[2]))
    (tables, names, pairs) = (Int(counts[3]), Int(counts[4]), Int(counts[5]))
  }

  func tensor(_ index: Int) -> Int { 64 + index * 136 }
  var dimsStart: Int { tensor(tensors) }
  func chunk(_ index: Int) -> Int { dimsStart + dims * 8 + index * 32 }
  func pair(_ index: Int) -> Int { chunk(chunks) + index * 56 }
  var tablesStart: Int { pair(pairs) }
  var namesStart: Int { tablesStart + tables }
}

extension [UInt8] {
  func word(_ offset: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(self[offset + $1]) << UInt64($1 * 8) } }

  func half(_ offset: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(self[offset + $1]) << UInt32($1 * 8) } }

  mutating func set<Value: FixedWidthInteger>(_ offset: Int, _ value: Value) {
    for index in 0..<MemoryLayout<Value>.size {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> Value(index * 8))
    }
  }

  mutating func append(littleEndian value: some FixedWidthInteger) {
    let start = count
    self += [UInt8](repeating: 0, count: MemoryLayout.size(ofValue: value))
    set(start, value)
  }
}
