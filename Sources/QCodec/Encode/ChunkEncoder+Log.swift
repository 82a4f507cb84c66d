extension ChunkEncoder {
  /// Encodes a chunk under the `log` map: the two ends of each block, then the codes.
  func encodeLog(
    source: UnsafeRawBufferPointer, first: UInt64, blocks target: UnsafeMutableRawBufferPointer,
    codes: UnsafeMutablePointer<UInt8>, counter: StochasticCounter?
  ) throws(QCodecError) -> TensorStatistics {
    let scratch = SegmentScratch()
    let total = source.count / layout.elementSize
    let blocks = try unsafe logBlocks(source: source, first: first, scratch: scratch)
    var statistics = ChunkStatistics()
    for (index, block) in blocks.enumerated() {
      unsafe target.storeBytes(of: block.low, toByteOffset: index * 8, as: Float.self)
      unsafe target.storeBytes(of: block.high, toByteOffset: index * 8 + 4, as: Float.self)
    }
    for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, total - start)
      unsafe load(source, from: start, count: count, scratch)
      LogBlock.forEachRun(from: start, count: count, blockSize: blockSize) { index, offset, run in
        let codes = unsafe scratch.codes + offset
        unsafe ScalarKernels.logEncode(scratch.x + offset, count: run, block: blocks[index], into: codes)
        if let counter {
          unsafe ScalarKernels.logStochastic(
            scratch.x + offset, count: run, block: blocks[index], counter: counter,
            firstIndex: first + UInt64(start + offset), codes: codes)
        }
        unsafe ScalarKernels.logDecode(codes, count: run, block: blocks[index], into: scratch.values + offset)
      }
      unsafe ScalarKernels.pack(
        scratch.codes, count: count, bits: layout.scheme.bits, into: codes + start * layout.scheme.bits / 8)
      unsafe ScalarKernels.round(scratch.values, count: count, to: layout.dtype)
      unsafe statistics.measureErrors(scratch.x, values: scratch.values, count: count)
    }
    let greatest = unsafe greatestCodes(codes, count: total)
    for (index, block) in blocks.enumerated() {
      statistics.bound(
        block, greatest: greatest.isEmpty ? nil : greatest[index], rounding: layout.scheme.rounding, dtype: layout.dtype
      )
    }
    return statistics.finish(slack: 0)
  }

  /// The greatest code of each block; none where the upper end of each is its greatest value.
  private func greatestCodes(_ codes: UnsafePointer<UInt8>, count: Int) -> [UInt8] {
    guard step.grid != nil else { return [] }
    return unsafe ScalarKernels.greatestCodes(codes, count: count, bits: layout.scheme.bits, blockSize: blockSize)
  }

  private var blockSize: Int { if case .block(let size) = layout.scheme.scaling { size } else { 0 } }

  /// The blocks of a chunk; checks every value.
  private func logBlocks(
    source: UnsafeRawBufferPointer, first: UInt64, scratch: SegmentScratch
  ) throws(QCodecError) -> [LogBlock] {
    let total = source.count / layout.elementSize
    var blocks: [LogBlock] = []
    for start in stride(from: 0, to: total, by: blockSize) {
      let end = min(start + blockSize, total)
      var ends = LogEnds()
      for piece in stride(from: start, to: end, by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, end - piece)
        unsafe load(source, from: piece, count: count, scratch)
        var extreme = ScalarKernels.Extreme()
        unsafe ScalarKernels.scan(scratch.x, count: count, into: &extreme)
        if extreme.isNonFinite || extreme.isNegative { throw unsafe refusal(source: source, first: first) }
        unsafe ScalarKernels.scan(scratch.x, count: count, into: &ends)
      }
      let bits = layout.scheme.bits
      let spaced = ends.least.flatMap { step.grid?.block(least: $0, greatest: ends.greatest, bits: bits) }
      blocks.append(spaced ?? LogBlock(ends, bits: bits))
    }
    return blocks
  }
}

extension LogBlock {
  /// Calls `body` with (block, offset, length) for each piece of a block among `count` elements from `first` of a chunk.
  static func forEachRun(from first: Int, count: Int, blockSize: Int, _ body: (Int, Int, Int) -> Void) {
    var done = 0
    while done < count {
      let (block, within) = (first + done).quotientAndRemainder(dividingBy: blockSize)
      let run = min(count - done, blockSize - within)
      body(block, done, run)
      done += run
    }
  }
}
