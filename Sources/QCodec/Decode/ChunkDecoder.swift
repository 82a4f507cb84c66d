import CQCodecKernels

/// Decodes the chunks of one tensor, in any order and on any thread; refuses what no encoder writes.
public struct ChunkDecoder: Sendable {
  /// How the tensor lies in chunks.
  public let layout: TensorLayout
  /// The scale vector; empty under block scaling.
  package let scales: [Float]
  private let field: ScaleField
  /// Import entries that are NaN: codes that must not occur.
  private let forbidden: Set<UInt8>
  /// The level of the kernels, and the table as they want it; nil where the reference decodes.
  let level: Int32?
  let kernelTable: KernelTable?
  /// nil under block scaling.
  private let kernelScales: KernelScales?

  /// A decoder under a layout and its scale vector (empty for blocks).
  ///
  /// - Parameters:
  ///   - layout: how the tensor lies in chunks.
  ///   - scales: the scale vector; empty under block scaling.
  ///   - kernels: the instruction set to use; it does not change the result.
  ///
  /// Throws `shapeMismatch` for a scale vector of another length, `invalidScale` for a scale that is not finite, or
  /// negative where the scale rule makes magnitudes.
  public init(layout: TensorLayout, scales: [Float], kernels: KernelLevel = .selected) throws(QCodecError) {
    guard scales.count == layout.scaleCount else {
      throw QCodecError(.shapeMismatch, "\(scales.count) scales for \(layout.scaleCount)")
    }
    self.layout = layout
    self.scales = scales
    field = ScaleField(layout: layout)
    let entries = layout.table?.entries ?? []
    forbidden = Set(entries.indices.filter { entries[$0].isNaN }.map(UInt8.init))
    // A code without a value is to be found, which the reference does.
    level = kernels == .scalar || !forbidden.isEmpty ? nil : kernels.rawValue
    kernelTable = level == nil ? nil : layout.table?.kernelTable
    kernelScales = level.flatMap { KernelScales(layout, vector: scales, table: nil, level: $0) }
    try checkScales(scales)
  }

  /// Decodes elements of one chunk from its payload.
  ///
  /// - Parameters:
  ///   - index: the chunk, counted from 0 within the tensor.
  ///   - payload: exactly `payloadByteCount(ofChunk:)` bytes, and under a scheme with escapes what follows them.
  ///   - elements: which elements, counted from the chunk's first; nil for all.
  ///   - divisors: in the update domain `divisors(chunk:payload:elements:)` of the second moment for these elements; empty
  ///     in the value domain.
  ///   - target: exactly the bytes of those elements in the tensor's dtype.
  ///
  /// Throws `invalidChunkLength` or `shapeMismatch` for a buffer of another size, `invalidEscape`, `invalidScale` and
  /// `invalidCode` for contents that no encoder writes.
  public func decode(
    chunk index: Int, payload: UnsafeRawBufferPointer, elements: Range<Int>? = nil, divisors: [Float] = [],
    into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) {
    let (first, total, escapes) = try unsafe sizes(chunk: index, payload: payload)
    let wanted = elements ?? 0..<total
    guard wanted.lowerBound >= 0, wanted.upperBound <= total, target.count == wanted.count * layout.elementSize,
      divisors.count == (layout.scheme.domain == .update ? wanted.count : 0)
    else {
      throw QCodecError(.shapeMismatch, "elements \(wanted) of chunk \(index) and room for \(target.count) bytes")
    }
    guard !wanted.isEmpty else { return }
    if level != nil {
      try unsafe decodeByKernels(
        payload, first: first, total: total, elements: wanted, divisors: divisors, into: target)
      return unsafe escapes.lay(over: target, elements: wanted, from: payload)
    }
    try unsafe forEachSegment(payload, first: first, total: total, elements: wanted) { values, done, count in
      if !divisors.isEmpty {
        unsafe divisors.withUnsafeBufferPointer { divisors in
          unsafe ScalarKernels.multiply(values, by: divisors.baseAddress.unsafelyUnwrapped + done, count: count)
        }
      }
      unsafe ScalarKernels.store(
        values, count: count, dtype: layout.dtype,
        into: target.baseAddress.unsafelyUnwrapped + done * layout.elementSize)
    }
    unsafe escapes.lay(over: target, elements: wanted, from: payload)
  }

  /// What the first moment of a pair is divided by: d = √v̂ where v̂ > 0 and 1 elsewhere, v̂ this tensor's decoded float32
  /// before conversion to its dtype. Parameters and errors as of `decode`.
  public func divisors(
    chunk index: Int, payload: UnsafeRawBufferPointer, elements: Range<Int>? = nil
  ) throws(QCodecError) -> [Float] {
    let (first, total, escapes) = try unsafe sizes(chunk: index, payload: payload)
    let wanted = elements ?? 0..<total
    guard wanted.lowerBound >= 0, wanted.upperBound <= total, layout.scheme.domain == .value else {
      throw QCodecError(.invalidArgument, "elements \(wanted) of chunk \(index) as a second moment")
    }
    var result = [Float](repeating: 0, count: wanted.count)
    guard !wanted.isEmpty else { return result }
    if let level {
      try unsafe result.withUnsafeMutableBufferPointer { result throws(QCodecError) in
        let target = unsafe result.baseAddress.unsafelyUnwrapped
        try withCodecEnvironment { () throws(QCodecError) in
          try unsafe values(payload, first: first, total: total, elements: wanted, into: target)
          unsafe qcodec_divisors(level, target, wanted.count)
          unsafe escapes.lay(overDivisors: target, elements: wanted, from: payload)
        }
      }
      return result
    }
    try unsafe result.withUnsafeMutableBufferPointer { result throws(QCodecError) in
      let target = unsafe result.baseAddress.unsafelyUnwrapped
      try unsafe forEachSegment(payload, first: first, total: total, elements: wanted) { values, done, count in
        unsafe ScalarKernels.divisors(values, count: count)
        unsafe (target + done).update(from: values, count: count)
      }
      withCodecEnvironment { unsafe escapes.lay(overDivisors: target, elements: wanted, from: payload) }
    }
    return result
  }

  // MARK: Checks

  /// Throws what `decode` throws for contents that no encoder writes, without decoding.
  package func check(chunk index: Int, payload: UnsafeRawBufferPointer) throws(QCodecError) {
    let (first, total, _) = try unsafe sizes(chunk: index, payload: payload)
    try unsafe forEachSegment(payload, first: first, total: total, elements: 0..<(forbidden.isEmpty ? 0 : total)) {
      _, _, _ in
    }
  }

  /// A chunk's first element, how many it holds, and its escapes; throws for a payload of another size.
  func sizes(
    chunk index: Int, payload: UnsafeRawBufferPointer
  ) throws(QCodecError) -> (first: UInt64, total: Int, escapes: EscapeSection) {
    guard (0..<layout.codeChunkCount).contains(index) else {
      throw QCodecError(.invalidArgument, "chunk \(index) of \(layout.codeChunkCount)")
    }
    let base = layout.payloadByteCount(ofChunk: index)
    guard layout.payloadByteCounts(ofChunk: index).contains(payload.count) else {
      throw QCodecError(.invalidChunkLength, "a chunk of \(payload.count) bytes for \(base)")
    }
    let range = layout.elements(ofChunk: index)
    let total = Int(range.upperBound - range.lowerBound)
    let used = total * layout.scheme.bits % 8
    if used > 0, unsafe payload[base - 1] & 0xFF >> UInt8(used) != 0 {
      throw QCodecError(.invalidCode, "bits after the last code are not zero", offset: UInt64(base - 1))
    }
    guard layout.scheme.hasEscapes else { return (range.lowerBound, total, EscapeSection(layout)) }
    let escapes = try unsafe EscapeSection(payload, from: base, elements: total, layout: layout)
    return (range.lowerBound, total, escapes)
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

  private func checkCodes(_ scratch: SegmentScratch, count: Int, firstIndex: UInt64) throws(QCodecError) {
    for i in 0..<count where unsafe forbidden.contains(scratch.codes[i]) {
      throw QCodecError(
        .invalidCode, unsafe "code \(scratch.codes[i]) has no value in the imported table",
        index: firstIndex + UInt64(i))
    }
  }

  /// What the elements of a chunk are scaled by; throws `invalidScale` for what no encoder writes.
  func checkedBlocks(_ payload: UnsafeRawBufferPointer, elements: Int) throws(QCodecError) -> ChunkBlocks {
    let blocks = try unsafe ChunkBlocks(payload, layout: layout, elements: elements, vector: scales)
    try checkScales(blocks.scales)
    return blocks
  }

  /// The codes of a chunk, which follow its blocks.
  func codes(of payload: UnsafeRawBufferPointer, elements: Int) -> UnsafePointer<UInt8> {
    unsafe (payload.baseAddress.unsafelyUnwrapped + layout.blockByteCount(elements: elements))
      .assumingMemoryBound(to: UInt8.self)
  }

  // MARK: Elements

  /// Calls `body` with (float32 values, elements done, elements) for each segment of the wanted elements.
  private func forEachSegment(
    _ payload: UnsafeRawBufferPointer, first: UInt64, total: Int, elements: Range<Int>,
    _ body: (UnsafeMutablePointer<Float>, Int, Int) -> Void
  ) throws(QCodecError) {
    try withCodecEnvironment { () throws(QCodecError) in
      let blocks = try unsafe checkedBlocks(payload, elements: total)
      let packed = unsafe codes(of: payload, elements: total)
      let scratch = SegmentScratch()
      for start in stride(from: elements.lowerBound, to: elements.upperBound, by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, elements.upperBound - start)
        unsafe ScalarKernels.unpack(
          packed, first: start, count: count, bits: layout.scheme.bits, into: scratch.codes)
        if !forbidden.isEmpty { try checkCodes(scratch, count: count, firstIndex: first + UInt64(start)) }
        blocks.decode(scratch, layout: layout, field: field, from: start, count: count, first: first)
        unsafe body(scratch.values, start - elements.lowerBound, count)
      }
    }
  }
}

// MARK: - By kernels

extension ChunkDecoder {
  private func decodeByKernels(
    _ payload: UnsafeRawBufferPointer, first: UInt64, total: Int, elements: Range<Int>, divisors: [Float],
    into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) {
    guard let level else { return }
    let start = unsafe target.baseAddress.unsafelyUnwrapped
    try withCodecEnvironment { () throws(QCodecError) in
      guard layout.dtype != .f32 else {
        let values = unsafe start.assumingMemoryBound(to: Float.self)
        try unsafe self.values(payload, first: first, total: total, elements: elements, into: values)
        return unsafe multiply(values, divisors, level)
      }
      var values = [Float](repeating: 0, count: elements.count)
      try unsafe values.withUnsafeMutableBufferPointer { values throws(QCodecError) in
        let values = unsafe values.baseAddress.unsafelyUnwrapped
        try unsafe self.values(payload, first: first, total: total, elements: elements, into: values)
        unsafe multiply(values, divisors, level)
        unsafe qcodec_narrow(level, values, layout.dtype.kernelCode, elements.count, start)
      }
    }
  }

  /// Multiplies values by their divisors, of which the value domain has none.
  private func multiply(_ values: UnsafeMutablePointer<Float>, _ divisors: [Float], _ level: Int32) {
    guard !divisors.isEmpty else { return }
    unsafe divisors.withUnsafeBufferPointer {
      unsafe qcodec_multiply(level, values, $0.baseAddress, $0.count)
    }
  }

  /// The float32 values of elements, before divisors and dtype.
  private func values(
    _ payload: UnsafeRawBufferPointer, first: UInt64, total: Int, elements: Range<Int>,
    into target: UnsafeMutablePointer<Float>
  ) throws(QCodecError) {
    guard let level else { return }
    let blocks = try unsafe checkedBlocks(payload, elements: total)
    let packed = unsafe codes(of: payload, elements: total)
    unsafe withKernelCodes(packed, elements: elements, step: max(blocks.size, 8)) { codes, base in
      let (start, bits) = (elements.lowerBound - base, Int32(layout.scheme.bits))
      guard let kernelTable else {
        // The ends, checked above, lie where the payload begins.
        let ends = unsafe payload.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self)
        return unsafe qcodec_decode_log(
          level, codes, ends + base / blocks.size * 2, start, elements.count, blocks.size, bits, target)
      }
      if let kernelScales {
        return unsafe kernelScales.with(from: first + UInt64(elements.lowerBound), count: elements.count) { rows in
          unsafe qcodec_decode_scaled(level, kernelTable.pointer, codes, start, elements.count, rows, target)
        }
      }
      unsafe blocks.scales.withUnsafeBufferPointer { vector in
        let scales = unsafe vector.baseAddress.unsafelyUnwrapped + base / blocks.size
        unsafe qcodec_decode_blocks(
          level, kernelTable.pointer, codes, scales, start, elements.count, blocks.size, target)
      }
    }
  }

  /// Calls `body` with the codes of elements as kernels have them, and the element that these begin with: the last multiple
  /// of `step`, itself one of 8, that is not above the first. Codes before the first element may be anything.
  func withKernelCodes(
    _ packed: UnsafePointer<UInt8>, elements: Range<Int>, step: Int, _ body: (UnsafePointer<UInt8>, Int) -> Void
  ) {
    let bits = layout.scheme.bits
    let base = elements.lowerBound / step * step
    guard let level, layout.scheme.isRepacked else { return unsafe body(packed + base / 8 * bits, base) }
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: elements.upperBound - base) { room in
      let codes = unsafe room.baseAddress.unsafelyUnwrapped
      unsafe qcodec_unpack_codes(
        level, packed, elements.lowerBound, elements.count, Int32(bits), codes + (elements.lowerBound - base))
      unsafe body(codes, base)
    }
  }
}
