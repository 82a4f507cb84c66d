import QCheckpoint
import QCodec
import QVerify

/// Directories alone: the input stands in a file that has no other bytes, however long it says that it is.
enum DirectoryTarget {
  private static let header: [UInt8] = {
    var header: [UInt8] = [0x89, 0x51, 0x43, 0x4B, 0x0D, 0x0A, 0x1A, 0x0A, 1, 0, 0, 0, 64]
    header += [UInt8](repeating: 0, count: 56 - header.count)
    header.append(littleEndian: xxh3(header))
    // A header that readers refuse would leave nothing to fuzz.
    let opened = outcome { () throws(QCodecError) in
      try CheckpointReader(source: file(with: [UInt8](repeating: 0, count: 64), header: header))
    }
    require(opened.isSuccess, "an empty directory is refused: \(opened.error as Any)")
    return header
  }()

  static func run(_ input: [UInt8]) -> Bool {
    let opened = outcome { () throws(QCodecError) in
      try CheckpointReader(source: file(with: input, header: header), verifyChecksums: false)
    }
    guard let reader = opened.value else { return true }
    for index in 0..<min(reader.tensorCount, 1000) {
      let info = reader.tensor(index)
      require(reader.find(info.name) == index, "a tensor is not found by its name")
      tolerate { () throws(QCodecError) in _ = try reader.codeByteCounts(of: index) }
      for chunk in info.chunks { require(reader.chunk(chunk).tensor == index, "a chunk of another tensor") }
      read(info, index, reader)
    }
    tolerate { () throws(QCodecError) in _ = try CheckpointSummary(reader).json().serialized() }
    return true
  }

  /// All chunks are zeros: what is stored plain can be read, if only its first row.
  private static func read(_ info: TensorInfo, _ index: Int, _ reader: CheckpointReader) {
    let length = info.shape.first ?? 1
    guard length > 0, info.sourceBytes / length <= 1 << 16, info.scheme == nil || info.chunks.count <= 2 else { return }
    var row = [UInt8](repeating: 0, count: Int(info.sourceBytes / length))
    tolerate { () throws(QCodecError) in
      try row.withMutableRaw { target throws(QCodecError) in
        try reader.readRows(tensor: index, rows: length - 1..<length, into: target, threads: 1)
      }
    }
  }

  private static func file(with directory: [UInt8], header: [UInt8]) -> CallbackSource {
    let start = chunksEnd(directory)
    let padding = [UInt8](repeating: 0, count: (64 - directory.count % 64) % 64)
    var trailer: [UInt8] = []
    let length = start + UInt64(directory.count + padding.count + 96)
    let tensors = directory.count >= 8 ? directory.word(0) : 0
    for field in [
      start, UInt64(directory.count), xxh3(directory), start, 0, xxh3([]), header.word(56), length, tensors, 0,
    ] { trailer.append(littleEndian: field) }
    trailer += Array("QCKPTEND".utf8)
    trailer.append(littleEndian: xxh3(trailer))
    let end = directory + padding + trailer
    return CallbackSource(byteCount: length) { offset, target throws(QCodecError) in
      for index in 0..<target.count {
        let place = offset + UInt64(index)
        target[index] = place < 64 ? header[Int(place)] : place < start ? 0 : end[Int(place - start)]
      }
    }
  }

  /// Where the last chunk ends, as far as the directory can be understood.
  private static func chunksEnd(_ directory: [UInt8]) -> UInt64 {
    guard let sections = DirectoryPlaces(directory), sections.chunks > 0 else { return 64 }
    let last = sections.chunk(sections.chunks - 1)
    let offset = directory.word(last)
    guard offset < 1 << 60 else { return 64 }
    return max(64, (offset + UInt64(directory.half(last + 8)) + 63) & ~63)
  }
}
