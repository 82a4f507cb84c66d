import QCodec

/// The decoded bytes of one tensor of a checkpoint, read by range: a source for other writers, or a slice at a time.
public struct TensorContents: TensorSource {
  let reader: CheckpointReader
  let name: String
  /// Bytes of the whole tensor in its dtype.
  public let byteCount: UInt64
  let own: Part
  /// In the update domain what stands for the second moment.
  let second: Part?

  /// A tensor's chunks and what decodes them.
  struct Part: Sendable {
    /// nil for lossless tensors.
    let decoder: ChunkDecoder?
    let places: ChunkPlaces
  }

  /// Reads from `offset` on with the caller's thread alone; throws as `read(at:into:threads:)`.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    try unsafe read(at: offset, into: target, threads: 1)
  }

  /// Reads from `offset` on, chunks in parallel; both ends of a quantized tensor's range lie on elements.
  ///
  /// Throws `invalidArgument` for a range that the tensor does not have, and an error with byte offset and tensor for
  /// each defect of a chunk.
  public func read(
    at offset: UInt64, into target: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) {
    guard offset <= byteCount, UInt64(target.count) <= byteCount - offset else {
      throw QCodecError(.invalidArgument, "bytes from \(offset) of a tensor of \(byteCount)", tensor: name)
    }
    guard target.count > 0 else { return }
    let range = offset..<offset + UInt64(target.count)
    do throws(QCodecError) {
      if let decoder = own.decoder {
        try unsafe readQuantized(range, decoder: decoder, into: target, threads: threads)
      } else {
        try unsafe readLossless(range, into: target, threads: threads)
      }
    } catch {
      throw error.named(name)
    }
  }

  private func readLossless(
    _ range: Range<UInt64>, into target: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) {
    let size = UInt64(Format.losslessChunk)
    let chunks = Int(range.lowerBound / size)..<Int((range.upperBound + size - 1) / size)
    // Safe: every chunk writes bytes of its own, and the buffer outlives the call.
    nonisolated(unsafe) let target = unsafe target
    try parallelFor(count: chunks.count, threads: threads) { index throws(QCodecError) in
      let chunk = chunks.lowerBound + index
      let payload = try reader.payload(ofChunk: own.places.data(chunk))
      let held = UInt64(chunk) * size..<UInt64(chunk) * size + UInt64(payload.count)
      let wanted = held.clamped(to: range)
      let to = Int(wanted.lowerBound - range.lowerBound)
      let from = Int(wanted.lowerBound - held.lowerBound)
      let count = Int(wanted.upperBound - wanted.lowerBound)
      unsafe payload.withUnsafeBytes { bytes in
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[to..<to + count])
          .copyMemory(from: .init(rebasing: bytes[from..<from + count]))
      }
    }
  }

  private func readQuantized(
    _ range: Range<UInt64>, decoder: ChunkDecoder, into target: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) {
    let layout = decoder.layout
    let size = UInt64(layout.dtype.bitWidth / 8)
    guard range.lowerBound % size == 0, range.upperBound % size == 0 else {
      throw QCodecError(.invalidArgument, "bytes \(range) begin or end within an element")
    }
    let elements = range.lowerBound / size..<range.upperBound / size
    let chunks = layout.chunks(holding: elements)
    // Safe: every chunk writes bytes of its own, and the buffer outlives the call.
    nonisolated(unsafe) let target = unsafe target
    try parallelFor(count: chunks.count, threads: threads) { index throws(QCodecError) in
      let chunk = chunks.lowerBound + index
      let held = layout.elements(ofChunk: chunk)
      let wanted = held.clamped(to: elements)
      let start = Int(wanted.lowerBound - held.lowerBound)
      let count = Int(wanted.upperBound - wanted.lowerBound)
      let to = Int((wanted.lowerBound - elements.lowerBound) * size)
      let payload = try reader.payload(ofChunk: own.places.data(chunk))
      let divisors = try divisors(ofChunk: chunk, elements: start..<start + count)
      do throws(QCodecError) {
        try unsafe payload.withBytes { bytes throws(QCodecError) in
          try unsafe decoder.decode(
            chunk: chunk, payload: bytes, elements: start..<start + count, divisors: divisors,
            into: UnsafeMutableRawBufferPointer(rebasing: target[to..<to + count * Int(size)]))
        }
      } catch {
        var located = error
        located.offset = reader.chunk(own.places.data(chunk)).offset
        throw located
      }
    }
  }

  /// What elements of a chunk are divided by, from the same chunk of the second moment; none in the value domain.
  private func divisors(ofChunk chunk: Int, elements: Range<Int>) throws(QCodecError) -> [Float] {
    guard let second, let decoder = second.decoder else { return [] }
    let place = second.places.data(chunk)
    let payload = try reader.payload(ofChunk: place)
    do throws(QCodecError) {
      return try unsafe payload.withBytes { bytes throws(QCodecError) in
        try unsafe decoder.divisors(chunk: chunk, payload: bytes, elements: elements)
      }
    } catch {
      throw QCodecError(
        error.code, error.message, offset: reader.chunk(place).offset, tensor: reader.tensorName(ofChunk: place))
    }
  }
}
