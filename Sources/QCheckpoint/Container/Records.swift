import QCodec

/// One tensor as the directory stores it, in 136 bytes.
struct TensorRecord: Sendable {
  var nameOffset: UInt64 = 0
  var nameLength: UInt32 = 0
  var dtype: DType
  var role: Role = .other
  var reason: FallbackReason = .none
  var dimsIndex: UInt64 = 0
  var dimCount: UInt8 = 0
  var firstChunk: UInt64 = 0
  var chunkCount: UInt64 = 0
  var elementCount: UInt64 = 0
  /// nil for lossless tensors.
  var scheme: Scheme?
  /// The table that the scheme's codes index; nil for lossless tensors.
  var table: MapTable?
  var tableOffset: UInt32 = Format.noTable
  var statistics = TensorStatistics()
  /// NaN where there is none.
  var guaranteedRelative: Double = 0
  /// The second moment of a first one in the update domain, by its place in the directory (by its place in the order of
  /// addition until that is sorted).
  var reference: Int?
  /// 2 where the chunks of a pair alternate.
  var stride: UInt8 = 1
  var sourceBytes: UInt64 = 0

  /// Where in the record the scheme stands.
  static let schemeOffset = 40

  /// Appends the record.
  func write(to writer: inout ByteWriter) {
    writer.write(nameOffset)
    writer.write(nameLength)
    writer.write(dtype.rawValue)
    writer.write(role.rawValue)
    writer.write(UInt8(scheme == nil ? 0 : 1))
    writer.write(dimCount)
    for field in [dimsIndex, firstChunk, chunkCount] { writer.write(field) }
    writer.write(scheme: scheme)
    writer.write(tableOffset)
    writer.write(reason.rawValue)
    writer.write(stride)
    writer.write(UInt16(0))
    writer.write(reference.map { UInt64($0) } ?? Format.noReference)
    writer.write(scheme?.seed ?? 0)
    writer.write(statistics.maxAbsError)
    writer.write(statistics.maxScaledError)
    writer.write(statistics.squaredError)
    writer.write(statistics.squaredSource)
    writer.write(statistics.zerosCreated)
    writer.write(statistics.signChanges)
    writer.write(statistics.guaranteedMaxAbsError)
    writer.write(guaranteedRelative)
  }
}

extension ByteWriter {
  /// Appends the eight bytes of a scheme; zeros for a lossless tensor.
  mutating func write(scheme: Scheme?) {
    guard let scheme else { return write(UInt64(0)) }
    let (scaling, block) = scheme.scaling.codes
    write(scheme.map.rawValue)
    write(UInt8(scheme.bits))
    write(UInt8((scheme.signed ? 1 : 0) | (scheme.hasEscapes ? 2 : 0)))
    write(scaling)
    write(block)
    write(scheme.domain.rawValue)
    write(scheme.rounding.rawValue)
    write(scheme.scaleRule.rawValue)
  }
}

extension Scheme.Scaling {
  /// The bytes that files store: the scaling, and the binary logarithm of the block.
  var codes: (scaling: UInt8, block: UInt8) {
    switch self {
    case .tensor: (1, 0)
    case .block(let size): (2, UInt8(size.trailingZeroBitCount))
    case .row: (3, 0)
    case .column: (4, 0)
    case .rank1: (5, 0)
    }
  }

  /// The scaling of two stored bytes, or nil.
  init?(code: UInt8, block: UInt8) {
    switch (code, block) {
    case (1, 0): self = .tensor
    case (2, 5...16): self = .block(1 << Int(block))
    case (3, 0): self = .row
    case (4, 0): self = .column
    case (5, 0): self = .rank1
    default: return nil
    }
  }
}

/// One chunk as the directory stores it, in 32 bytes.
struct ChunkRecord: Sendable {
  var offset: UInt64
  var storedLength: UInt32
  var rawLength: UInt32
  /// Of the stored bytes; of a chunk that is the base's, of the payload.
  var hash: UInt64
  var compression: Compression
  var kind: ChunkKind
  var tensor: UInt32
  var relation: ChunkRelation = .own

  /// Appends the record.
  func write(to writer: inout ByteWriter) {
    writer.write(offset)
    writer.write(storedLength)
    writer.write(rawLength)
    writer.write(hash)
    writer.write(ChunkCoding(stage: compression, relation: relation).code)
    writer.write(kind.rawValue)
    writer.write(UInt16(0))
    writer.write(tensor)
  }
}
