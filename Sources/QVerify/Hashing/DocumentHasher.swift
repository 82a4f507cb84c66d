import QCheckpoint
import QCodec

/// Hashes the tensors of a document, one after another.
///
/// Values are decoded on several threads and hashed in order, at some 10 GB/s. Memory: a few chunks a thread, and one scale
/// vector. Time is linear in the bytes of the tensors; each chunk is read once, and at once again to be decoded.
public struct DocumentHasher: Sendable {
  private let document: InputDocument
  private let hashesStored: Bool
  private let threads: Int

  /// A hasher of an open document.
  ///
  /// - Parameter stored: whether the chunks of a checkpoint are hashed as they lie in the file, too.
  public init(_ document: InputDocument, stored: Bool = true, threads: Int = availableThreads()) {
    self.document = document
    hashesStored = stored && document.checkpoint != nil
    self.threads = threads
  }

  /// Hashes all tensors.
  ///
  /// - Parameter progress: called with the decoded bytes that were hashed since the last call.
  ///
  /// Throws what reading the document throws, and `duplicateName`.
  public func hashes(progress: (UInt64) -> Void = { _ in }) throws(QCodecError) -> DocumentHashes {
    var tensors: [DocumentHashes.Tensor] = []
    for tensor in try document.tensorsByName() {
      let hashes = try hashes(of: tensor, progress: progress)
      tensors.append(
        .init(
          name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, values: hashes.values, stored: hashes.stored))
    }
    return DocumentHashes(tensors: tensors, hasStored: hashesStored)
  }

  private func hashes(
    of tensor: InputTensor, progress: (UInt64) -> Void
  ) throws(QCodecError) -> (values: Hash128, stored: Hash128?) {
    let values = StreamingHash128()
    let shape = tensor.shape.map(String.init).joined(separator: ",")
    values.append(Array("\(tensor.dtype.name) \(shape)\n".utf8))
    let stored = StreamingHash128()
    let pieces = try pieces(of: tensor)
    let (source, reader) = (tensor.source, document.checkpoint)
    try orderedPipeline(count: pieces.count, threads: threads) { index throws(QCodecError) in
      let piece = pieces[index]
      let chunk = try piece.chunk.flatMap { chunk throws(QCodecError) in try reader?.storedBytes(ofChunk: chunk) }
      return (stored: chunk ?? [], values: try Self.read(source, piece.values))
    } consume: { (piece: (stored: [UInt8], values: [UInt8])) in
      stored.append(piece.stored)
      values.append(piece.values)
      progress(UInt64(piece.values.count))
    }
    return (values.value, hashesStored ? stored.value : nil)
  }

  /// What is read at a time: a chunk as it is stored, and the values of it.
  private struct Piece: Sendable {
    var chunk: Int?
    /// Bytes of the decoded tensor.
    var values: Range<UInt64>
  }

  private func pieces(of tensor: InputTensor) throws(QCodecError) -> [Piece] {
    let byteCount = tensor.source.byteCount
    guard hashesStored, let reader = document.checkpoint, let index = reader.find(tensor.name) else {
      let size = try tensor.dtype.byteCount(elements: UInt64(TensorLayout.chunkElements))
      return stride(from: 0, to: byteCount, by: Int(size)).map { Piece(values: $0..<min(byteCount, $0 + size)) }
    }
    let layout = try reader.layout(of: index)
    let places = reader.tensor(index).chunks
    var pieces: [Piece] = []
    var start: UInt64 = 0
    for (number, place) in places.enumerated() {
      var length: UInt64 = 0
      // Scale vectors are no values.
      if number >= places.scaleCount {
        let elements = layout?.elements(ofChunk: number - places.scaleCount)
        length =
          try elements.map { range throws(QCodecError) in
            try tensor.dtype.byteCount(elements: range.upperBound - range.lowerBound)
          } ?? UInt64(reader.chunk(place).rawLength)
      }
      pieces.append(Piece(chunk: place, values: start..<start + length))
      start += length
    }
    return pieces
  }

  private static func read(_ source: any TensorSource, _ range: Range<UInt64>) throws(QCodecError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Int(range.upperBound - range.lowerBound))
    guard !bytes.isEmpty else { return bytes }
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in
      try unsafe source.read(at: range.lowerBound, into: buffer)
    }
    return bytes
  }
}
