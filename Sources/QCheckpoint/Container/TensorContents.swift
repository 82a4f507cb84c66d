import QCodec

/// The decoded bytes of one tensor of a checkpoint, read by range: a source for other writers, or a slice at a time.
public struct TensorContents: TensorSource {
  let reader: CheckpointReader
  let name: String
  /// Bytes of the whole tensor in its dtype.
  public let byteCount: UInt64
  let own: Part
  /// In the update domain what stands for the second moment, and what decodes both.
  let second: Part?
  let pair: PairDecoder?

  /// A tensor's chunks and what decodes them.
  struct Part: Sendable {
    /// nil for lossless tensors.
    let decoder: ChunkDecoder?
    let places: ChunkPlaces

    /// Bytes that are read together; 1 where any are.
    var elementSize: Int { decoder.map { $0.layout.dtype.bitWidth / 8 } ?? 1 }
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
    // Safe: every piece writes bytes of its own, and the buffer outlives the call.
    nonisolated(unsafe) let target = unsafe target
    let pieces = try unsafe pieces(of: offset..<offset + UInt64(target.count))
    try parallelFor(count: pieces.count, threads: threads) { index throws(QCodecError) in
      try unsafe pieces.read(index, into: target)
    }
  }

  /// A range as the parts of chunks that hold it, to be read each on its own.
  ///
  /// Throws `invalidArgument` for a range of a quantized tensor that begins or ends within an element.
  func pieces(of range: Range<UInt64>) throws(QCodecError) -> Pieces {
    let size = UInt64(own.elementSize)
    guard range.lowerBound % size == 0, range.upperBound % size == 0 else {
      throw QCodecError(.invalidArgument, "bytes \(range) begin or end within an element", tensor: name)
    }
    let chunk = own.decoder == nil ? UInt64(Format.losslessChunk) : UInt64(TensorLayout.chunkElements) * size
    let chunks = range.isEmpty ? 0..<0 : Int(range.lowerBound / chunk)..<Int((range.upperBound + chunk - 1) / chunk)
    return Pieces(contents: self, range: range, chunks: chunks, chunkBytes: chunk)
  }

  struct Pieces: Sendable {
    let contents: TensorContents
    fileprivate let range: Range<UInt64>
    fileprivate let chunks: Range<Int>
    fileprivate let chunkBytes: UInt64

    var count: Int { chunks.count }

    private func held(_ index: Int) -> Range<UInt64> {
      let start = UInt64(chunks.lowerBound + index) * chunkBytes
      return start..<min(start + chunkBytes, contents.byteCount)
    }

    /// Bytes of one piece.
    func byteCount(of index: Int) -> Int { held(index).clamped(to: range).count }

    /// Reads one piece to its place in `target`, which holds the whole range, and in the update domain that of the
    /// second moment to `secondTarget`, where it is wanted.
    func read(
      _ index: Int, into target: UnsafeMutableRawBufferPointer, _ secondTarget: UnsafeMutableRawBufferPointer? = nil
    ) throws(QCodecError) {
      let place = held(index).clamped(to: range).lowerBound - range.lowerBound
      let own = unsafe rebased(target, place, index, size: contents.own.elementSize)
      let second = unsafe secondTarget.map { target in
        unsafe rebased(target, place, index, size: contents.second?.elementSize ?? 1)
      }
      try unsafe read(index, alone: own, second)
    }

    /// The part of a tensor's memory that a piece of this one's bytes corresponds to, of elements of another size.
    private func rebased(
      _ target: UnsafeMutableRawBufferPointer, _ place: UInt64, _ index: Int, size: Int
    ) -> UnsafeMutableRawBufferPointer {
      let own = contents.own.elementSize
      let (start, count) = (Int(place) / own * size, byteCount(of: index) / own * size)
      return unsafe UnsafeMutableRawBufferPointer(rebasing: target[start..<start + count])
    }

    /// Reads one piece into exactly its bytes.
    func read(
      _ index: Int, alone target: UnsafeMutableRawBufferPointer, _ secondTarget: UnsafeMutableRawBufferPointer? = nil
    ) throws(QCodecError) {
      let (chunk, held) = (chunks.lowerBound + index, held(index))
      let wanted = held.clamped(to: range)
      let within = Int(wanted.lowerBound - held.lowerBound)..<Int(wanted.upperBound - held.lowerBound)
      do throws(QCodecError) {
        if let decoder = contents.own.decoder {
          let size = contents.own.elementSize
          let elements = within.lowerBound / size..<within.upperBound / size
          try unsafe contents.decode(chunk, elements: elements, by: decoder, into: target, secondTarget)
        } else {
          try unsafe contents.copy(chunk, bytes: within, isWhole: wanted == held, into: target)
        }
      } catch {
        throw error.named(contents.name)
      }
    }
  }

  /// Bytes of a lossless chunk.
  private func copy(
    _ chunk: Int, bytes: Range<Int>, isWhole: Bool, into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) {
    let place = own.places.data(chunk)
    if isWhole { return try unsafe reader.readPayload(ofChunk: place, into: target) }
    try unsafe reader.withPayload(ofChunk: place) { payload in
      unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: payload[bytes]))
    }
  }

  /// Elements of a chunk of codes, counted from its first; of a pair also the second moment's, where they are wanted.
  private func decode(
    _ chunk: Int, elements: Range<Int>, by decoder: ChunkDecoder, into target: UnsafeMutableRawBufferPointer,
    _ secondTarget: UnsafeMutableRawBufferPointer?
  ) throws(QCodecError) {
    let place = own.places.data(chunk)
    guard let pair, let second else {
      return try unsafe reader.withPayload(ofChunk: place) { payload throws(QCodecError) in
        try locating(place) { () throws(QCodecError) in
          try unsafe decoder.decode(chunk: chunk, payload: payload, elements: elements, into: target)
        }
      }
    }
    let secondPlace = second.places.data(chunk)
    let secondName = reader.tensorName(ofChunk: secondPlace)
    try unsafe reader.withPayload(ofChunk: secondPlace) { secondPayload throws(QCodecError) in
      try unsafe reader.withPayload(ofChunk: place) { payload throws(QCodecError) in
        do throws(QCodecError) {
          try unsafe pair.decode(
            chunk: chunk, first: payload, second: secondPayload, elements: elements, into: target, secondTarget)
        } catch {
          var located = error
          located.offset = reader.chunk(error.tensor == secondName ? secondPlace : place).offset
          throw located
        }
      }
    }
  }

  /// Gives errors of `body` the place of a chunk.
  private func locating(_ place: Int, _ body: () throws(QCodecError) -> Void) throws(QCodecError) {
    do throws(QCodecError) { try body() } catch {
      var located = error
      located.offset = reader.chunk(place).offset
      throw located
    }
  }
}
