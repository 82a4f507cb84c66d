extension ChunkEncoder {
  /// What encoding did to a chunk with escapes: measured anew from its payload, for what codes decode to does not tell.
  ///
  /// - Parameter codes: what encoding found; its guarantees hold of the codes.
  func statistics(
    chunk index: Int, source: UnsafeRawBufferPointer, divisors: [Float], payload: UnsafeRawBufferPointer,
    codes: TensorStatistics
  ) throws(QCodecError) -> TensorStatistics {
    let total = source.count / layout.elementSize
    let base = layout.payloadByteCount(ofChunk: index)
    let escapes = try unsafe EscapeSection(payload, from: base, elements: total, layout: layout)
    let work = unsafe ChunkWork(
      source: source, divisors: divisors, first: layout.elements(ofChunk: index).lowerBound, count: total)
    return try withCodecEnvironment { () throws(QCodecError) in
      let blocks = try unsafe ChunkBlocks(payload, layout: layout, elements: total, vector: scales)
      let scratch = SegmentScratch()
      var statistics = ChunkStatistics()
      for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, total - start)
        loadOperand(work, from: start, count: count, scratch)
        unsafe decode(payload, work, blocks, from: start, count: count, scratch)
        let isEscaped = unsafe patterns(escapes, of: start..<start + count, payload)
        measure(work, from: start, count: count, isEscaped, scratch, into: &statistics)
      }
      var result = statistics.finish(slack: 0)
      result.guaranteedMaxAbsError = codes.guaranteedMaxAbsError
      result.guaranteedMaxRelError = codes.guaranteedMaxRelError
      unsafe result.bound(escapes, of: payload, layout: layout, divisors: divisors)
      return result
    }
  }

  /// The escaped elements of a segment, counted from its first.
  private func patterns(
    _ escapes: EscapeSection, of elements: Range<Int>, _ payload: UnsafeRawBufferPointer
  ) -> [(element: Int, value: Float)] {
    var result: [(element: Int, value: Float)] = []
    unsafe escapes.forEach(of: elements, from: payload) { element, pattern in
      result.append((element - elements.lowerBound, EscapeSection.value(pattern, layout.dtype)))
    }
    return result
  }

  /// What the codes of a segment decode to, before divisors and dtype, and their scales.
  private func decode(
    _ payload: UnsafeRawBufferPointer, _ work: ChunkWork, _ blocks: ChunkBlocks, from start: Int, count: Int,
    _ scratch: SegmentScratch
  ) {
    let packed = unsafe (payload.baseAddress.unsafelyUnwrapped + layout.blockByteCount(elements: work.count))
      .assumingMemoryBound(to: UInt8.self)
    unsafe ScalarKernels.unpack(packed, first: start, count: count, bits: layout.scheme.bits, into: scratch.codes)
    // The ends of `log` blocks are no scales.
    if layout.table == nil { unsafe scratch.scales.update(repeating: 0, count: count) }
    blocks.decode(scratch, layout: layout, field: field, from: start, count: count, first: work.first)
  }

  private func measure(
    _ work: ChunkWork, from start: Int, count: Int, _ escaped: [(element: Int, value: Float)],
    _ scratch: SegmentScratch,
    into statistics: inout ChunkStatistics
  ) {
    // Errors in units of the scale are those of codes that count.
    for (element, _) in escaped { unsafe scratch.scales[element] = 0 }
    if work.divisors.isEmpty {
      unsafe ScalarKernels.round(scratch.values, count: count, to: layout.dtype)
      unsafe statistics.measureScaled(scratch.x, values: scratch.values, scales: scratch.scales, count: count)
    } else {
      unsafe statistics.measureScaled(scratch.quotients, values: scratch.values, scales: scratch.scales, count: count)
      unsafe work.divisors.withUnsafeBufferPointer { divisors in
        unsafe ScalarKernels.multiply(
          scratch.values, by: divisors.baseAddress.unsafelyUnwrapped + start, count: count)
      }
      unsafe ScalarKernels.round(scratch.values, count: count, to: layout.dtype)
    }
    for (element, value) in escaped { unsafe scratch.values[element] = value }
    unsafe statistics.measureErrors(scratch.x, values: scratch.values, count: count)
  }
}
