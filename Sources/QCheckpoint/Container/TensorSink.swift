import QCodec

/// Takes the bytes of one tensor as they come, in C order and in pieces of any size.
///
/// For sources that cannot be read twice, a pipe for instance. Memory: two chunks a thread.
public final class TensorSink {
  private let writer: CheckpointWriter
  private let chunks: ChunkPreparation
  private(set) var tensor: OpenTensor
  /// Bytes not yet written, the beginning of a chunk that `next` or a later one holds.
  private var pending: [UInt8] = []
  private var next = 0
  /// Bytes taken so far.
  public private(set) var byteCount: UInt64 = 0

  init(writer: CheckpointWriter, tensor: OpenTensor, chunks: ChunkPreparation) {
    self.writer = writer
    self.chunks = chunks
    self.tensor = tensor
  }

  /// Takes the next bytes of the tensor.
  ///
  /// Throws `shapeMismatch` for more bytes than the tensor has, `nonFiniteValue` and `negativeValue` with the element,
  /// and `io`; after any of these the checkpoint is given up.
  public func append(_ bytes: RawSpan) throws(QCodecError) {
    guard UInt64(bytes.byteCount) <= chunks.plan.sourceBytes - byteCount else {
      throw QCodecError(.shapeMismatch, "more bytes than the \(chunks.plan.sourceBytes) that the tensor has")
    }
    byteCount += UInt64(bytes.byteCount)
    unsafe bytes.withUnsafeBytes { unsafe pending.append(contentsOf: $0) }
    while try flushGroup() {}
  }

  /// The finished record; throws `shapeMismatch` where bytes are missing.
  func finish() throws(QCodecError) -> TensorRecord {
    guard byteCount == chunks.plan.sourceBytes else {
      throw QCodecError(.shapeMismatch, "\(byteCount) bytes of the \(chunks.plan.sourceBytes) that the tensor has")
    }
    return tensor.record
  }

  /// Writes a group of chunks if it is complete, or the last of the tensor; returns whether it did.
  private func flushGroup() throws(QCodecError) -> Bool {
    let total = Int(chunks.plan.dataChunks)
    let last = min(total, next + writer.groupSize)
    guard next < last else { return false }
    let start = chunks.sourceRange(ofChunk: next).lowerBound
    let size = Int(chunks.sourceRange(ofChunk: last - 1).upperBound - start)
    guard pending.count >= size else { return false }
    let (group, first, chunks) = (pending, next, chunks)
    try writer.writeChunks(last - first, to: &tensor) { index throws(QCodecError) in
      let range = chunks.sourceRange(ofChunk: first + index)
      return try unsafe group.withBytes { bytes throws(QCodecError) in
        try unsafe chunks.prepare(
          first + index,
          UnsafeRawBufferPointer(
            rebasing: bytes[Int(range.lowerBound - start)..<Int(range.upperBound - start)]))
      }
    }
    pending.removeFirst(size)
    next = last
    return true
  }
}
