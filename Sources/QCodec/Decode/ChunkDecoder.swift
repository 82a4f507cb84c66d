/// Decodes the chunks of one tensor, in any order and on any thread; refuses what no encoder writes.
public struct ChunkDecoder: Sendable {
  public let layout: TensorLayout
  private let scales: [Float]
  private let field: ScaleField
  /// Import entries that are NaN: codes that must not occur.
  private let forbidden: Set<UInt8>

  /// A decoder under a layout and its scale vector (empty for blocks).
  ///
  /// Throws `shapeMismatch` for a scale vector of another length, `invalidScale` for a scale that is not finite, or
  /// negative where the scale rule makes magnitudes.
  public init(layout: TensorLayout, scales: [Float]) throws(QCodecError) {
    guard scales.count == layout.scaleCount else {
      throw QCodecError(.shapeMismatch, "\(scales.count) scales for \(layout.scaleCount)")
    }
    self.layout = layout
    self.scales = scales
    field = ScaleField(layout: layout)
    forbidden = Set(layout.table.entries.indices.filter { layout.table.entries[$0].isNaN }.map(UInt8.init))
    try checkScales(scales)
  }

  /// Decodes elements of one chunk from its payload.
  ///
  /// - Parameters:
  ///   - payload: exactly `payloadByteCount(ofChunk:)` bytes.
  ///   - elements: which elements, counted from the chunk's first; nil for all.
  ///   - target: exactly the bytes of those elements in the tensor's dtype.
  ///
  /// Throws `invalidChunkLength` or `shapeMismatch` for a buffer of another size, `invalidScale` and `invalidCode` for
  /// contents that no encoder writes.
  public func decode(
    chunk index: Int, payload: UnsafeRawBufferPointer, elements: Range<Int>? = nil,
    into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) {
    let (first, total) = try unsafe check(chunk: index, payload: payload)
    let wanted = elements ?? 0..<total
    guard wanted.lowerBound >= 0, wanted.upperBound <= total, target.count == wanted.count * layout.elementSize else {
      throw QCodecError(.shapeMismatch, "elements \(wanted) of chunk \(index) and room for \(target.count) bytes")
    }
    guard !wanted.isEmpty else { return }
    try withCodecEnvironment { () throws(QCodecError) in
      let vector = try unsafe chunkScales(payload, total: total)
      let packed = unsafe payload.baseAddress.unsafelyUnwrapped + layout.blockScaleCount(elements: total) * 4
      try unsafe vector.withUnsafeBufferPointer { vector throws(QCodecError) in
        try unsafe decodeSegments(
          packed: packed.assumingMemoryBound(to: UInt8.self), first: first, elements: wanted,
          vector: vector.baseAddress.unsafelyUnwrapped, into: target.baseAddress.unsafelyUnwrapped)
      }
    }
  }

  // MARK: Checks

  private func check(
    chunk index: Int, payload: UnsafeRawBufferPointer
  ) throws(QCodecError) -> (first: UInt64, total: Int) {
    guard (0..<layout.codeChunkCount).contains(index) else {
      throw QCodecError(.invalidArgument, "chunk \(index) of \(layout.codeChunkCount)")
    }
    guard payload.count == layout.payloadByteCount(ofChunk: index) else {
      throw QCodecError(
        .invalidChunkLength, "a chunk of \(payload.count) bytes for \(layout.payloadByteCount(ofChunk: index))")
    }
    let range = layout.elements(ofChunk: index)
    let total = Int(range.upperBound - range.lowerBound)
    if layout.scheme.bits == 4, total % 2 == 1, unsafe payload[payload.count - 1] & 15 != 0 {
      throw QCodecError(
        .invalidCode, "the nibble after the last code is not zero", offset: UInt64(payload.count - 1))
    }
    return (range.lowerBound, total)
  }

  private func chunkScales(_ payload: UnsafeRawBufferPointer, total: Int) throws(QCodecError) -> [Float] {
    guard case .block = layout.scheme.scaling else { return scales }
    let count = layout.blockScaleCount(elements: total)
    let own = unsafe [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: .init(rebasing: payload[..<(count * 4)]))
      initialized = count
    }
    try checkScales(own)
    return own
  }

  /// Refuses scales that no rule makes; the offset of the error is that within the scales.
  package func checkScales(_ scales: [Float]) throws(QCodecError) {
    let magnitudes = layout.scheme.scaleRule == .absmax || layout.scheme.scaling == .rank1
    for (index, scale) in scales.enumerated() {
      guard scale.isFinite else { throw QCodecError(.invalidScale, "scale \(scale)", offset: UInt64(index * 4)) }
      if magnitudes, scale.sign == .minus {
        throw QCodecError(.invalidScale, "scale \(scale) where scales are magnitudes", offset: UInt64(index * 4))
      }
    }
  }

  // MARK: Elements

  private func decodeSegments(
    packed: UnsafePointer<UInt8>, first: UInt64, elements: Range<Int>, vector: UnsafePointer<Float>,
    into target: UnsafeMutableRawPointer
  ) throws(QCodecError) {
    let scratch = SegmentScratch()
    let origin: UInt64 = if case .block = layout.scheme.scaling { 0 } else { first }
    for start in stride(from: elements.lowerBound, to: elements.upperBound, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, elements.upperBound - start)
      unsafe ScalarKernels.unpack(packed, first: start, count: count, bits: layout.scheme.bits, into: scratch.codes)
      if !forbidden.isEmpty { try checkCodes(scratch, count: count, firstIndex: first + UInt64(start)) }
      unsafe field.fill(from: origin + UInt64(start), count: count, vector: vector, into: scratch.scales)
      unsafe layout.table.entries.withUnsafeBufferPointer { entries in
        unsafe ScalarKernels.decode(
          scratch.codes, scales: scratch.scales, count: count, entries: entries.baseAddress.unsafelyUnwrapped,
          into: scratch.values)
      }
      unsafe ScalarKernels.store(
        scratch.values, count: count, dtype: layout.dtype,
        into: target + (start - elements.lowerBound) * layout.elementSize)
    }
  }

  private func checkCodes(_ scratch: SegmentScratch, count: Int, firstIndex: UInt64) throws(QCodecError) {
    for i in 0..<count where unsafe forbidden.contains(scratch.codes[i]) {
      throw QCodecError(
        .invalidCode, unsafe "code \(scratch.codes[i]) has no value in the imported table",
        index: firstIndex + UInt64(i))
    }
  }
}
