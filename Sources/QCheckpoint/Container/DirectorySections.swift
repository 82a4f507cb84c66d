import QCodec

/// Where the sections of a directory begin, and how much each holds.
struct DirectorySections: Sendable {
  let tensors: Int
  let dims: Int
  let chunks: Int
  let pairs: Int
  let dimsStart: Int
  let chunksStart: Int
  let pairsStart: Int
  let tablesStart: Int
  let namesStart: Int

  /// Reads the head of a directory that stands at `base` of the file: sections that fit, in their order, and fill it.
  ///
  /// Throws `invalidDirectory` and `reservedBits`.
  init(_ fields: ByteFields, at base: UInt64, tensorCount: UInt64) throws(QCodecError) {
    let size = fields.bytes.count
    guard size >= Format.directoryHeaderSize else {
      throw QCodecError(.invalidDirectory, "a directory of \(size) bytes", offset: base)
    }
    guard fields.read(0, as: UInt64.self) == tensorCount else {
      throw QCodecError(.invalidDirectory, "directory and trailer disagree on the number of tensors", offset: base)
    }
    for offset in stride(from: 48, to: 64, by: 8) where fields.read(offset, as: UInt64.self) != 0 {
      throw QCodecError(.reservedBits, "a reserved field of the directory is not zero", offset: base + UInt64(offset))
    }
    // Each section is checked against what the ones before leave, by subtraction.
    var rest = UInt64(size - Format.directoryHeaderSize)
    var counts: [Int] = []
    let sizes = [Format.tensorRecordSize, 8, Format.chunkRecordSize, Format.pairRecordSize, 1, 1]
    for (section, header) in [0, 16, 8, 40, 24, 32].enumerated() {
      let count: UInt64 = fields.read(header)
      let size = UInt64(sizes[section])
      guard count <= rest / size else {
        throw QCodecError(
          .invalidDirectory, "the directory is too short for what it counts", offset: base + UInt64(header))
      }
      counts.append(Int(count))
      rest -= count * size
    }
    guard rest == 0 else {
      throw QCodecError(.invalidDirectory, "\(rest) bytes of the directory belong to nothing", offset: base)
    }
    self.init(tensors: counts[0], dims: counts[1], chunks: counts[2], pairs: counts[3], tableBytes: counts[4])
  }

  /// The sections of a directory that holds so much.
  init(tensors: Int, dims: Int, chunks: Int, pairs: Int, tableBytes: Int) {
    (self.tensors, self.dims, self.chunks, self.pairs) = (tensors, dims, chunks, pairs)
    dimsStart = Format.directoryHeaderSize + tensors * Format.tensorRecordSize
    chunksStart = dimsStart + dims * 8
    pairsStart = chunksStart + chunks * Format.chunkRecordSize
    tablesStart = pairsStart + pairs * Format.pairRecordSize
    namesStart = tablesStart + tableBytes
  }

  /// Where the record of a tensor stands.
  func tensorStart(_ index: Int) -> Int { Format.directoryHeaderSize + index * Format.tensorRecordSize }

  /// Where the record of a chunk stands.
  func chunkStart(_ index: Int) -> Int { chunksStart + index * Format.chunkRecordSize }

  /// Where the record of a pair stands.
  func pairStart(_ index: Int) -> Int { pairsStart + index * Format.pairRecordSize }
}
