/// What the elements of a chunk are scaled by: the tensor's scale vector, or the blocks that the chunk begins with.
struct ChunkBlocks {
  /// The elements of a block; 0 without blocks.
  let size: Int
  /// Empty under the `log` map.
  let scales: [Float]
  /// Empty under every other map.
  let logs: [LogBlock]

  init(
    _ payload: UnsafeRawBufferPointer, layout: TensorLayout, elements: Int, vector: [Float]
  ) throws(QCodecError) {
    guard case .block(let size) = layout.scheme.scaling else {
      (self.size, scales, logs) = (0, vector, [])
      return
    }
    self.size = size
    let count = layout.blockByteCount(elements: elements) / 4
    let own = unsafe [Float](uninitialized: count) { buffer, initialized in
      unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: .init(rebasing: payload[..<(count * 4)]))
      initialized = count
    }
    guard layout.scheme.map == .log else {
      (scales, logs) = (own, [])
      return
    }
    var logs: [LogBlock] = []
    for index in stride(from: 0, to: count, by: 2) {
      do throws(QCodecError) {
        logs.append(try LogBlock(stored: own[index], own[index + 1], bits: layout.scheme.bits))
      } catch {
        throw QCodecError(error.code, error.message, offset: UInt64(index * 4))
      }
    }
    (scales, self.logs) = ([], logs)
  }

  /// What the codes of a segment decode to, before divisors and dtype, and, but under `log`, what they are scaled by. The
  /// segment begins with element `start` of the chunk, and the chunk with element `first` of the tensor.
  func decode(
    _ scratch: SegmentScratch, layout: TensorLayout, field: ScaleField, from start: Int, count: Int, first: UInt64
  ) {
    guard let table = layout.table else {
      return LogBlock.forEachRun(from: start, count: count, blockSize: size) { index, offset, run in
        unsafe ScalarKernels.logDecode(
          scratch.codes + offset, count: run, block: logs[index], into: scratch.values + offset)
      }
    }
    let origin = size > 0 ? UInt64(start) : first + UInt64(start)
    unsafe scales.withUnsafeBufferPointer { vector in
      unsafe field.fill(
        from: origin, count: count, vector: vector.baseAddress.unsafelyUnwrapped, into: scratch.scales)
    }
    unsafe table.entries.withUnsafeBufferPointer { entries in
      unsafe ScalarKernels.decode(
        scratch.codes, scales: scratch.scales, count: count, entries: entries.baseAddress.unsafelyUnwrapped,
        into: scratch.values)
    }
  }
}
