import QCodec

/// The chunks that a tensor's shape and scheme imply: what a writer writes and a reader insists on.
struct ChunkPlan: Sendable {
  /// nil for lossless tensors.
  let layout: TensorLayout?
  let sourceBytes: UInt64

  /// Chunks of scales, then of codes or of source bytes.
  var scaleChunks: Int { layout?.scaleChunkCount ?? 0 }

  var dataChunks: UInt64 {
    if let layout { return UInt64(layout.codeChunkCount) }
    return Self.losslessCount(sourceBytes)
  }

  var count: UInt64 { UInt64(scaleChunks) + dataChunks }

  /// Kind and bytes before the lossless stage of chunk `index`, how many they may be.
  func chunk(_ index: Int) -> (kind: ChunkKind, rawLengths: ClosedRange<Int>) {
    if let layout {
      if index < scaleChunks {
        let length = layout.scales(ofChunk: index).count * 4
        return (.scales, length...length)
      }
      return (.codes, layout.payloadByteCounts(ofChunk: index - scaleChunks))
    }
    let length = Self.losslessLength(sourceBytes, chunk: index)
    return (.lossless, length...length)
  }

  /// Chunks of a lossless tensor of so many bytes.
  static func losslessCount(_ bytes: UInt64) -> UInt64 {
    bytes / UInt64(Format.losslessChunk) + (bytes % UInt64(Format.losslessChunk) == 0 ? 0 : 1)
  }

  /// Bytes of one of them.
  static func losslessLength(_ bytes: UInt64, chunk index: Int) -> Int {
    Int(min(UInt64(Format.losslessChunk), bytes - UInt64(index) * UInt64(Format.losslessChunk)))
  }
}
