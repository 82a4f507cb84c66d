extension ChunkEncoder {
  /// Encodes a chunk whose codes index a table.
  func encodeScaled(
    _ work: ChunkWork, coder: TableCoder, blocks: UnsafeMutableRawBufferPointer, codes: UnsafeMutablePointer<UInt8>
  ) throws(QCodecError) -> TensorStatistics {
    let scratch = SegmentScratch()
    let own = try chunkScales(work, scratch: scratch)
    if !own.isEmpty { unsafe own.withUnsafeBytes { unsafe blocks.copyMemory(from: $0) } }
    return try unsafe (own.isEmpty ? scales : own).withUnsafeBufferPointer { vector throws(QCodecError) in
      try unsafe encodeSegments(
        work, coder: coder, vector: vector.baseAddress.unsafelyUnwrapped, scratch: scratch, codes: codes)
    }
  }

  // MARK: Scales

  /// The chunk's own scales, none without blocks; checks every value.
  private func chunkScales(_ work: ChunkWork, scratch: SegmentScratch) throws(QCodecError) -> [Float] {
    var blocks: [Float] = []
    let run = if case .block(let size) = layout.scheme.scaling { size } else { work.count }
    for start in stride(from: 0, to: work.count, by: run) {
      var extreme = ScalarKernels.Extreme()
      for piece in stride(from: start, to: min(start + run, work.count), by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, min(start + run, work.count) - piece)
        loadOperand(work, from: piece, count: count, scratch)
        unsafe ScalarKernels.scan(scratch.operand, count: count, into: &extreme)
        if extreme.isNonFinite || (extreme.isNegative && !layout.scheme.signed) {
          throw unsafe refusal(source: work.source, first: work.first)
        }
      }
      let scale = step.applied(to: ScalePass.scale(extreme.value, scheme: layout.scheme))
      guard scale.isFinite else { throw notFinite("a scale") }
      blocks.append(scale)
    }
    if case .block = layout.scheme.scaling { return blocks }
    return []
  }

  /// Loads x and, in the update domain, u = x / d; `operand` is the one that is encoded.
  func loadOperand(_ work: ChunkWork, from start: Int, count: Int, _ scratch: SegmentScratch) {
    unsafe load(work.source, from: start, count: count, scratch)
    guard !work.divisors.isEmpty else { return unsafe scratch.operand = scratch.x }
    unsafe work.divisors.withUnsafeBufferPointer { divisors in
      unsafe ScalarKernels.divide(
        scratch.x, by: divisors.baseAddress.unsafelyUnwrapped + start, count: count, into: scratch.quotients)
    }
    unsafe scratch.operand = scratch.quotients
  }

  // MARK: Codes

  private func encodeSegments(
    _ work: ChunkWork, coder: TableCoder, vector: UnsafePointer<Float>, scratch: SegmentScratch,
    codes: UnsafeMutablePointer<UInt8>
  ) throws(QCodecError) -> TensorStatistics {
    let origin: UInt64 = if case .block = layout.scheme.scaling { 0 } else { work.first }
    let isUpdate = layout.scheme.domain == .update
    var statistics = ChunkStatistics()
    var bounds = isUpdate ? UpdateBounds(layout: layout, elements: work.count) : nil
    for start in stride(from: 0, to: work.count, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, work.count - start)
      loadOperand(work, from: start, count: count, scratch)
      unsafe field.fill(from: origin + UInt64(start), count: count, vector: vector, into: scratch.scales)
      unsafe ScalarKernels.normalise(scratch.operand, scales: scratch.scales, count: count, into: scratch.values)
      // A scale of the update domain may lie below its extreme, one that clamps far below.
      if isUpdate || step.clamps { unsafe ScalarKernels.clamp(scratch.values, count: count) }
      unsafe ScalarKernels.nearest(scratch.values, count: count, search: coder.search, into: scratch.codes)
      coder.choice.adjust(scratch, count: count, firstIndex: work.first + UInt64(start))
      // A segment is a multiple of eight, so the codes of each begin on a byte.
      unsafe ScalarKernels.pack(
        scratch.codes, count: count, bits: layout.scheme.bits, into: codes + start * layout.scheme.bits / 8)
      try measure(work, from: start, count: count, coder: coder, scratch, bounds: &bounds, into: &statistics)
    }
    if let bounds { statistics.bound(bounds, slack: coder.radii.slack) }
    return statistics.finish(slack: coder.radii.slack)
  }

  /// Decodes a segment as a reader would and takes in what became of it.
  private func measure(
    _ work: ChunkWork, from start: Int, count: Int, coder: TableCoder, _ scratch: SegmentScratch,
    bounds: inout UpdateBounds?, into statistics: inout ChunkStatistics
  ) throws(QCodecError) {
    unsafe coder.table.entries.withUnsafeBufferPointer { entries in
      unsafe ScalarKernels.decode(
        scratch.codes, scales: scratch.scales, count: count, entries: entries.baseAddress.unsafelyUnwrapped,
        into: scratch.values)
    }
    let radii = coder.radii
    guard !work.divisors.isEmpty else {
      unsafe ScalarKernels.round(scratch.values, count: count, to: layout.dtype)
      unsafe statistics.measureErrors(scratch.x, values: scratch.values, count: count)
      unsafe statistics.measureScaled(scratch.x, values: scratch.values, scales: scratch.scales, count: count)
      return unsafe statistics.bound(scratch.codes, scales: scratch.scales, count: count, radii: radii)
    }
    unsafe statistics.measureScaled(scratch.quotients, values: scratch.values, scales: scratch.scales, count: count)
    try unsafe work.divisors.withUnsafeBufferPointer { divisors throws(QCodecError) in
      let divisors = unsafe divisors.baseAddress.unsafelyUnwrapped + start
      unsafe ScalarKernels.multiply(scratch.values, by: divisors, count: count)
      unsafe ScalarKernels.round(scratch.values, count: count, to: layout.dtype)
      guard unsafe ScalarKernels.areFinite(scratch.values, count: count) else { throw notFinite("a decoded value") }
      unsafe statistics.measureErrors(scratch.x, values: scratch.values, count: count)
      unsafe bounds?.take(
        start, scratch.codes, scales: scratch.scales, divisors: divisors, count: count, radii: radii)
    }
  }
}
