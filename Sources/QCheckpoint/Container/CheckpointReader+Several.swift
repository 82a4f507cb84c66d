import QCodec

extension CheckpointReader {
  /// Reads whole tensors, each into exactly its `sourceBytes` bytes; chunks of all of them in parallel, and the chunks
  /// of a pair whose moments are both asked for decoded once for both.
  ///
  /// Throws as `read(tensor:into:threads:)`.
  public func read(
    _ tensors: [(tensor: Int, target: UnsafeMutableRawBufferPointer)], threads: Int = availableThreads()
  ) throws(QCodecError) {
    for unsafe(index, target) in unsafe tensors {
      let size = directory.sourceBytes(index)
      guard UInt64(target.count) == size else {
        throw QCodecError(
          .shapeMismatch, "room for \(target.count) bytes where the tensor has \(size)", tensor: tensor(index).name)
      }
    }
    let numbers = unsafe tensors.map(\.tensor)
    let places = Dictionary(numbers.enumerated().map { ($1, $0) }) { first, _ in first }
    // By first moment, the place of its second moment in the list; what is asked for twice is read alone again.
    let partners = numbers.indices.map { place in
      places[numbers[place]] == place ? directory.tensor(numbers[place]).reference.flatMap { places[$0] } : nil
    }
    let joined = Set(partners.compactMap(\.self))
    let alone = numbers.indices.filter { !joined.contains($0) }
    let pieces = try PieceList(alone.map { numbers[$0] }, of: self)
    // Safe: every piece writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let targets = unsafe tensors.map(\.target)
    try parallelFor(count: pieces.count, threads: threads) { piece throws(QCodecError) in
      let (tensor, index) = pieces.place(piece)
      let place = alone[tensor]
      try unsafe pieces.tensors[tensor].read(index, into: targets[place], partners[place].map { unsafe targets[$0] })
    }
  }

  /// Decodes tensors one after another and gives `body` their bytes, in order and in pieces, on the caller's thread;
  /// decoding goes ahead on the others. Memory: a few chunks a thread, and scale vectors of some tensors.
  ///
  /// Throws as `read(tensor:into:threads:)`, and what `body` throws.
  public func stream(
    _ tensors: [Int], threads: Int = availableThreads(),
    _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) {
    for window in windows(of: tensors.count, byteCount: { directory.sourceBytes(tensors[$0]) }) {
      let pieces = try PieceList(Array(tensors[window]), of: self)
      let pool = pool
      try orderedPipeline(count: pieces.count, threads: threads) { piece throws(QCodecError) in
        let (place, index) = pieces.place(piece)
        let buffer = pool.buffer(pieces.tensors[place].byteCount(of: index))
        try unsafe pieces.tensors[place].read(index, alone: buffer.bytes)
        return buffer
      } consume: { (buffer: PooledBuffer) throws(QCodecError) in
        try unsafe body(buffer.contents)
      }
    }
  }
}

/// The pieces of several tensors, numbered one after another.
private struct PieceList: Sendable {
  let tensors: [TensorContents.Pieces]
  private let starts: [Int]

  init(_ indices: [Int], of reader: CheckpointReader) throws(QCodecError) {
    tensors = try indices.map { index throws(QCodecError) in
      let contents = try reader.contents(of: index)
      return try contents.pieces(of: 0..<contents.byteCount)
    }
    starts = tensors.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
  }

  var count: Int { starts[starts.count - 1] }

  /// Which tensor a piece is of, and which of its pieces.
  func place(_ piece: Int) -> (tensor: Int, piece: Int) {
    let tensor = starts.partitioningIndex { $0 > piece } - 1
    return (tensor, piece - starts[tensor])
  }
}
