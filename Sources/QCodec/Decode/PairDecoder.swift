import CQCodecKernels

/// Decodes the chunks of a first moment in the update domain together with those of its second moment, in any order and
/// on any thread; the second moment is decoded once for both.
public struct PairDecoder: Sendable {
  /// The first moment's decoder, of the update domain.
  public let first: ChunkDecoder
  /// The second moment's decoder.
  public let second: ChunkDecoder
  private let names: (first: String, second: String)

  /// A decoder of both moments, which are of one shape; `names` are those that errors bear.
  ///
  /// Throws `unsupportedScheme` for a first moment outside the update domain or a second one that none may refer to,
  /// `shapeMismatch` for shapes of different sizes.
  public init(
    first: ChunkDecoder, second: ChunkDecoder, names: (first: String, second: String) = ("", "")
  ) throws(QCodecError) {
    guard first.layout.scheme.domain == .update, second.layout.scheme.isReferable else {
      throw QCodecError(.unsupportedScheme, "a pair is a first moment in the update domain and an unsigned second one")
    }
    guard first.layout.elementCount == second.layout.elementCount else {
      throw QCodecError(
        .shapeMismatch, "a pair of \(first.layout.elementCount) and \(second.layout.elementCount) elements",
        tensor: names.first)
    }
    self.first = first
    self.second = second
    self.names = names
  }

  /// Decodes elements of chunk `index` of both moments, or of the first alone.
  ///
  /// - Parameters:
  ///   - index: the chunk, counted from 0 within the tensor.
  ///   - payload: exactly `first.layout.payloadByteCount(ofChunk:)` bytes; `secondPayload` likewise.
  ///   - secondPayload: the second moment's, exactly `second.layout.payloadByteCount(ofChunk:)` bytes.
  ///   - elements: which elements, counted from the chunk's first; nil for all.
  ///   - target: exactly the bytes of those elements in the first moment's dtype.
  ///   - secondTarget: likewise for the second moment; nil where only the first is wanted.
  ///
  /// Throws as `ChunkDecoder.decode` does, for the second moment first; the error's `tensor` is the name of the moment
  /// whose payload or room it is. O(elements).
  public func decode(
    chunk index: Int, first payload: UnsafeRawBufferPointer, second secondPayload: UnsafeRawBufferPointer,
    elements: Range<Int>? = nil, into target: UnsafeMutableRawBufferPointer,
    _ secondTarget: UnsafeMutableRawBufferPointer?
  ) throws(QCodecError) {
    if let kernels = fused {
      let isDone = try unsafe decode(
        chunk: index, kernels, payloads: (payload, secondPayload), elements: elements, into: target, secondTarget)
      if isDone { return }
    }
    let divisors = try Self.naming(names.second) { () throws(QCodecError) in
      if let secondTarget = unsafe secondTarget {
        try unsafe second.decode(chunk: index, payload: secondPayload, elements: elements, into: secondTarget)
      }
      return try unsafe second.divisors(chunk: index, payload: secondPayload, elements: elements)
    }
    try Self.naming(names.first) { () throws(QCodecError) in
      try unsafe first.decode(
        chunk: index, payload: payload, elements: elements, divisors: divisors, into: target)
    }
  }

  /// Runs `body` and gives its errors a name.
  private static func naming<Result>(
    _ name: String, _ body: () throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    do throws(QCodecError) {
      return try body()
    } catch {
      var named = error
      named.tensor = name
      throw named
    }
  }
}

// MARK: - Both at once, by kernels

extension PairDecoder {
  /// The level and the first moment's table where kernels decode both moments in one pass: a first moment in blocks, its
  /// second moment under the `log` map.
  private var fused: (level: Int32, table: KernelTable)? {
    guard let level = first.level, level == second.level, let table = first.kernelTable,
      second.layout.scheme.map == .log, case .block = first.layout.scheme.scaling
    else { return nil }
    return (level, table)
  }

  /// False, and nothing done, where a second moment has escapes: they change what the first is multiplied by.
  private func decode(
    chunk index: Int, _ kernels: (level: Int32, table: KernelTable),
    payloads: (first: UnsafeRawBufferPointer, second: UnsafeRawBufferPointer), elements: Range<Int>?,
    into target: UnsafeMutableRawBufferPointer, _ secondTarget: UnsafeMutableRawBufferPointer?
  ) throws(QCodecError) -> Bool {
    let own = try Self.naming(names.second) { () throws(QCodecError) in
      try unsafe second.part(chunk: index, payload: payloads.second, elements: elements, room: secondTarget?.count)
    }
    let part = try Self.naming(names.first) { () throws(QCodecError) in
      try unsafe first.part(chunk: index, payload: payloads.first, elements: elements, room: target.count)
    }
    guard own.escapes.isEmpty else { return false }
    guard !part.elements.isEmpty else { return true }
    var pair = unsafe qcodec_pair(
      table: kernels.table.pointer, block: part.blockSize, rule: 0, dtype: first.layout.dtype.kernelCode,
      second_block: own.blockSize, second_bits: Int32(second.layout.scheme.bits),
      second_dtype: second.layout.dtype.kernelCode, spacing: nil, second_spacing: nil)
    withCodecEnvironment {
      unsafe withKernelCodes(part, own) { codes, secondCodes, base in
        let (scales, ends) = unsafe (part.blocks + base / part.blockSize, own.blocks + base / own.blockSize * 2)
        unsafe Self.forEachPiece(
          part.elements.count, (first.layout.dtype, target), (second.layout.dtype, secondTarget), kernels.level
        ) { start, count, values, secondValues in
          unsafe qcodec_decode_pair(
            kernels.level, &pair, scales, codes, ends, secondCodes, part.elements.lowerBound - base + start, count,
            values, secondValues)
        }
      }
    }
    unsafe part.escapes.lay(over: target, elements: part.elements, from: payloads.first)
    return true
  }

  /// Calls `body` with the codes of both moments as kernels have them, and the element that these begin with.
  private func withKernelCodes(
    _ part: ChunkDecoder.Part, _ own: ChunkDecoder.Part,
    _ body: (UnsafePointer<UInt8>, UnsafePointer<UInt8>, Int) -> Void
  ) {
    let step = max(part.blockSize, own.blockSize)
    unsafe first.withKernelCodes(part.codes, elements: part.elements, step: step) { codes, base in
      unsafe second.withKernelCodes(own.codes, elements: own.elements, step: step) { secondCodes, _ in
        unsafe body(codes, secondCodes, base)
      }
    }
  }

  /// Calls `body` with (first element, elements, room for the first's, room for the second's float32 values): where they
  /// belong, or in pieces that are then narrowed.
  private static func forEachPiece(
    _ count: Int, _ first: (dtype: DType, target: UnsafeMutableRawBufferPointer),
    _ second: (dtype: DType, target: UnsafeMutableRawBufferPointer?), _ level: Int32,
    _ body: (Int, Int, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>?) -> Void
  ) {
    let target = unsafe first.target.baseAddress.unsafelyUnwrapped
    let other = unsafe second.target?.baseAddress
    let isAlone = unsafe other == nil
    let isDirect = unsafe first.dtype == .f32 && (second.dtype == .f32 || isAlone)
    if isDirect {
      return unsafe body(
        0, count, target.assumingMemoryBound(to: Float.self), other?.assumingMemoryBound(to: Float.self))
    }
    let scratch = SegmentScratch()
    for start in stride(from: 0, to: count, by: ScalarKernels.segment) {
      let piece = min(ScalarKernels.segment, count - start)
      unsafe body(start, piece, scratch.x, isAlone ? nil : scratch.values)
      unsafe qcodec_narrow(
        level, scratch.x, first.dtype.kernelCode, piece, target + start * first.dtype.bitWidth / 8)
      if let other = unsafe other {
        unsafe qcodec_narrow(
          level, scratch.values, second.dtype.kernelCode, piece, other + start * second.dtype.bitWidth / 8)
      }
    }
  }
}

extension ChunkDecoder {
  /// Checked parts of a payload in blocks, and which elements are wanted.
  ///
  /// Safe: used within the call that was given the payload.
  @safe fileprivate struct Part {
    let blocks: UnsafePointer<Float>
    let codes: UnsafePointer<UInt8>
    let blockSize: Int
    let elements: Range<Int>
    let escapes: EscapeSection
  }

  /// Throws as `decode` does; `room` is the size of the buffer for the elements, nil where there is none.
  fileprivate func part(
    chunk index: Int, payload: UnsafeRawBufferPointer, elements: Range<Int>?, room: Int?
  ) throws(QCodecError) -> Part {
    let (_, total, escapes) = try unsafe sizes(chunk: index, payload: payload)
    let wanted = elements ?? 0..<total
    guard wanted.lowerBound >= 0, wanted.upperBound <= total,
      room ?? wanted.count * layout.elementSize
        == wanted.count * layout.elementSize
    else {
      throw QCodecError(.shapeMismatch, "elements \(wanted) of chunk \(index) and room for \(room ?? 0) bytes")
    }
    let size = try unsafe checkedBlocks(payload, elements: total).size
    return unsafe Part(
      blocks: payload.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self),
      codes: codes(of: payload, elements: total), blockSize: size, elements: wanted, escapes: escapes)
  }
}
