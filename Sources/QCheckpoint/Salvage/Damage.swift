import QCodec

/// One defect of a checkpoint that could be opened, with the elements that it costs.
public struct Damage: Sendable {
  /// What is wrong and where in the file; names the tensor where one is concerned.
  public let error: QCodecError
  /// The tensor, by its number; nil where none is concerned, as by padding and metadata.
  public let tensor: Int?
  /// The chunk's number within its tensor, from 0; nil where no single chunk is concerned.
  public let chunk: Int?
  /// The elements, in C order, that cannot be read because of it; none of a lead, which no reader needs.
  public let elements: Range<UInt64>
  /// The indices of the first axis of which an element cannot be read; nil for none and for scalars.
  public let rows: Range<UInt64>?
}

extension CheckpointReader {
  /// Every defect of a file's bytes in the order of the file, where `checkAllBytes` throws the first, then those that only
  /// decoding shows, in the order of tensors; none for a file that is sound.
  ///
  /// A first moment in the update domain is no damage of its own where only its second moment has any, but
  /// `lostElements(ofTensor:)` counts what that costs it. Memory: a few chunks a thread, and what is found. Throws
  /// `cancelled` alone.
  public func damage(threads: Int = availableThreads()) throws(QCodecError) -> [Damage] {
    let ordinals = tensorOrdinals()
    let found = ResultSlots<[Damage]>(count: chunkCount)
    try each(of: chunkCount, threads: threads) { index in
      var defects: [Damage] = []
      if let error = Self.failure({ () throws(QCodecError) in try self.checkContents(ofChunk: index) }) {
        defects.append(self.damage(error, chunk: index, costsElements: true))
      }
      if let error = Self.failure({ () throws(QCodecError) in try self.checkLead(ofChunk: index, ordinals: ordinals) })
      {
        defects.append(self.damage(error, chunk: index, costsElements: false))
      }
      if !defects.isEmpty { found[index] = defects }
    }
    let ofChunks = found.inOrder.flatMap(\.self)
    let costly = ofChunks.filter { !$0.elements.isEmpty }.compactMap(\.tensor)
    let damage = try ofChunks + damageOutsideChunks() + damageOfContents(except: Set(costly), threads)
    // What was not read because the search was to stop is not damaged.
    try Cancellation.check()
    return damage
  }

  private static func failure(_ body: () throws(QCodecError) -> Void) -> QCodecError? {
    do throws(QCodecError) { try body() } catch { return error }
    return nil
  }

  /// Calls `body`, which cannot fail, with every index; throws `cancelled`.
  private func each(
    of count: Int, threads: Int, _ body: @escaping @Sendable (Int) -> Void
  ) throws(QCodecError) {
    try parallelFor(count: count, threads: threads) { (index) throws(QCodecError) in body(index) }
    try Cancellation.check()
  }

  private func damage(_ error: QCodecError, chunk index: Int, costsElements: Bool) -> Damage {
    let place = location(ofChunk: index)
    return Damage(
      error: error.named(tensorName(ofChunk: index)), tensor: place.tensor, chunk: place.chunk,
      elements: costsElements ? place.elements : 0..<0, rows: costsElements ? place.rows : nil)
  }

  /// The checksum of a chunk, and that it decompresses.
  private func checkContents(ofChunk index: Int) throws(QCodecError) {
    try checkStored(ofChunk: index)
    if chunk(index).compression != .none || chunk(index).relation != .own {
      try unsafe withPayload(ofChunk: index) { _ in }
    }
  }

  private func damageOutsideChunks() -> [Damage] {
    let last = chunkCount > 0 ? directory.chunk(chunkCount - 1) : nil
    let metadata = Self.failure { () throws(QCodecError) in _ = try self.metadata() }
    let defects = [
      last.flatMap { paddingFailure(from: $0.offset + UInt64($0.storedLength)) }, metadata,
      paddingFailure(from: trailer.metadataOffset + trailer.metadataLength),
      paddingFailure(from: trailer.directoryOffset + trailer.directoryLength),
    ]
    return defects.compactMap(\.self).map {
      Damage(error: $0, tensor: nil, chunk: nil, elements: 0..<0, rows: nil)
    }
  }

  private func paddingFailure(from end: UInt64) -> QCodecError? {
    Self.failure { () throws(QCodecError) in try self.checkPadding(from: end) }
  }

  /// What is wrong with scales and codes under right checksums, of the tensors whose chunks are otherwise whole.
  private func damageOfContents(except damaged: Set<Int>, _ threads: Int) throws(QCodecError) -> [Damage] {
    var result: [Damage] = []
    for tensor in 0..<tensorCount {
      let second = directory.tensor(tensor).reference
      guard !damaged.contains(tensor), second.map(damaged.contains) != true else { continue }
      let unreadable = try unreadable(ofTensor: tensor, threads: threads)
      result += unreadable.compactMap { elements, error -> Damage? in
        // A second moment tells its own.
        guard error.tensor == nil || error.tensor == name(ofTensor: tensor) else { return nil }
        let place = error.offset.flatMap { offset in directory.places(tensor).firstIndex { chunk($0).offset == offset }
        }
        return Damage(
          error: error.named(name(ofTensor: tensor)), tensor: tensor, chunk: place, elements: elements,
          rows: TensorRows.holding(elements, shape: directory.shape(tensor)))
      }
    }
    return result
  }
}

extension CheckpointReader {
  private func name(ofTensor index: Int) -> String { String(decoding: directory.name(index), as: UTF8.self) }

  /// The elements of a tensor, in C order, that cannot be read, in ascending ranges; none for a whole tensor.
  ///
  /// Decodes all of it, in the update domain with its second moment, whose losses are its own too. O(elements); memory: a
  /// chunk a thread and the scale vector. What the system cannot read is lost as well. Throws `cancelled` alone.
  public func lostElements(
    ofTensor index: Int, threads: Int = availableThreads()
  ) throws(QCodecError) -> [Range<UInt64>] {
    TensorRows.joined(try unreadable(ofTensor: index, threads: threads).map(\.elements))
  }

  /// The chunks' elements that cannot be decoded, and why.
  private func unreadable(
    ofTensor index: Int, threads: Int
  ) throws(QCodecError) -> [(elements: Range<UInt64>, error: QCodecError)] {
    let count = directory.elementCount(index)
    guard count > 0 else { return [] }
    let pieces: TensorContents.Pieces
    do throws(QCodecError) {
      let contents = try contents(of: index)
      pieces = try contents.pieces(of: 0..<contents.byteCount)
    } catch {
      try Cancellation.check()
      return [(0..<count, error)]
    }
    let (dtype, isQuantized) = (directory.dtype(index), directory.scheme(index) != nil)
    let found = ResultSlots<(elements: Range<UInt64>, error: QCodecError)>(count: pieces.count)
    let pool = pool
    try each(of: pieces.count, threads: threads) { piece in
      let buffer = pool.buffer(pieces.byteCount(of: piece))
      guard
        let error = Self.failure({ () throws(QCodecError) in try unsafe pieces.read(piece, alone: buffer.bytes) })
      else { return }
      let elements = TensorContents.elements(
        ofDataChunk: piece, dtype: dtype, isQuantized: isQuantized, count: count)
      found[piece] = (elements, error)
    }
    return found.inOrder
  }
}
