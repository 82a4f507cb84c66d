import QCodec

/// What stands in front of a tensor's first chunk: all that decoding it takes, so that a file without its directory can
/// be salvaged. The directory says the same; where both are there, it counts.
struct Preamble: Equatable {
  let name: [UInt8]
  let dtype: DType
  let shape: [UInt64]
  /// nil for lossless tensors.
  let scheme: Scheme?
  /// In the update domain the second moment, counted as frames count tensors.
  var reference: UInt32?

  /// Bytes before dims, table and name.
  static let fixedSize = 16

  /// The preamble as stored.
  var bytes: [UInt8] {
    var body = ByteWriter()
    body.write(UInt16(name.count - 1))
    body.write(dtype.rawValue)
    body.write(UInt8(shape.count))
    body.write(scheme: scheme)
    for length in shape { body.write(length) }
    if let reference { body.write(UInt64(reference)) }
    if let table = scheme?.customTable { for entry in table.entries { body.write(entry) } }
    body.write(contentsOf: name)
    var result = ByteWriter()
    result.write(UInt32(truncatingIfNeeded: xxh3(body.bytes)))
    result.write(contentsOf: body.bytes)
    return result.bytes
  }

  /// The length of `bytes`; `schemeBytes` are 0 for a lossless tensor.
  static func byteCount(nameLength: Int, dims: Int, schemeBytes: Int) -> Int {
    fixedSize + dims * 8 + schemeBytes + nameLength
  }

  /// Bytes on account of a scheme: a second moment, and the entries of a custom table.
  static func schemeBytes(_ scheme: Scheme) -> Int {
    (scheme.domain == .update ? 8 : 0) + (scheme.customTable.map { $0.entries.count * 4 } ?? 0)
  }
}

/// The 24 bytes directly before a chunk's stored bytes.
struct ChunkFrame: Equatable {
  static let size = 24

  var storedLength: UInt32
  var compression: Compression
  var kind: ChunkKind
  /// The tensor, counted in the order in which tensors have their first chunks in the file.
  var tensor: UInt32
  /// The chunk within its tensor.
  var index: UInt32
  var hash: UInt64
  var relation: ChunkRelation

  /// The frame as stored.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.write(storedLength)
    writer.write(ChunkCoding(stage: compression, relation: relation).code)
    writer.write(kind.rawValue)
    writer.write(UInt16(0))
    writer.write(tensor)
    writer.write(index)
    writer.write(hash)
    return writer.bytes
  }

  /// Reads a frame; nil for what no writer writes.
  init?(_ fields: ByteFields, at offset: Int) {
    guard let coding = ChunkCoding(code: fields.bytes[offset + 4]),
      let kind = ChunkKind(rawValue: fields.bytes[offset + 5]), fields.read(offset + 6, as: UInt16.self) == 0
    else { return nil }
    self.init(
      storedLength: fields.read(offset), compression: coding.stage, kind: kind, tensor: fields.read(offset + 8),
      index: fields.read(offset + 12), hash: fields.read(offset + 16), relation: coding.relation)
  }

  init(
    storedLength: UInt32, compression: Compression, kind: ChunkKind, tensor: UInt32, index: UInt32, hash: UInt64,
    relation: ChunkRelation = .own
  ) {
    self.storedLength = storedLength
    self.compression = compression
    self.kind = kind
    self.tensor = tensor
    self.index = index
    self.hash = hash
    self.relation = relation
  }
}

/// The bytes between the end of what comes before and a chunk's stored bytes.
///
/// A preamble, where there is one, begins at the next multiple of 8; the frame ends at the multiple of 64 where the
/// stored bytes begin; what is left is zero.
enum Lead {
  /// Where the stored bytes begin after `end`, a position within a file; a length of 0 is no preamble.
  static func storedOffset(after end: UInt64, preambleLength: Int) -> UInt64 {
    let start = preambleLength == 0 ? end : (end + 7) & ~7
    return Format.aligned(start + UInt64(preambleLength + ChunkFrame.size))
  }

  /// The bytes from `end` up to the stored bytes.
  static func bytes(after end: UInt64, preamble: Preamble?, frame: ChunkFrame) -> [UInt8] {
    let text = preamble?.bytes ?? []
    let offset = storedOffset(after: end, preambleLength: text.count)
    var result = ByteWriter()
    if !text.isEmpty { result.write(zeros: Int((8 - end % 8) % 8)) }
    result.write(contentsOf: text)
    result.write(zeros: Int(offset - end) - result.bytes.count - ChunkFrame.size)
    result.write(contentsOf: frame.bytes)
    return result.bytes
  }
}
