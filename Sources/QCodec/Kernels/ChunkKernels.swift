import CQCodecKernels

/// Encodes chunks by the kernels of a level; what they do not serve is the reference's.
struct ChunkKernels: Sendable {
  let level: Int32
  let layout: TensorLayout
  /// nil under block scaling.
  private let scales: KernelScales?
  /// nil for the `log` map.
  let table: KernelTable?
  private let cells: KernelCells?
  private let slack: Double
  /// nil where the extremes decide.
  let spacing: KernelSpacing?
  /// Whether blocks of the `log` map have their ends from a step.
  private let isOnGrid: Bool

  /// The kernels of a scheme, or nil where the reference encodes: at the scalar level, under rounding other than to
  /// nearest, and where an element's sign or place decides on its code.
  init?(_ layout: TensorLayout, coder: TableCoder?, scales: [Float], step: EncodingStep, level: KernelLevel) {
    let scheme = layout.scheme
    guard level != .scalar, scheme.isRoundedByKernels else { return nil }
    if let coder {
      let table = coder.table.kernelTable
      guard table.encodes else { return nil }
      // Kernels that are given scales want no quotient beyond ±1.
      if scheme.domain == .update || step.clamps { guard case .block = scheme.scaling else { return nil } }
      self.table = table
      cells = KernelCells(coder.radii, table: table)
      slack = coder.radii.slack
    } else {
      (table, cells, slack) = (nil, nil, 0)
    }
    self.level = level.rawValue
    self.layout = layout
    spacing = KernelSpacing(step)
    isOnGrid = step.grid != nil
    self.scales = KernelScales(layout, vector: scales, table: table, level: level.rawValue)
  }

  /// Elements of a block; 0 without blocks.
  var blockSize: Int { if case .block(let size) = layout.scheme.scaling { size } else { 0 } }

  /// How scales follow from extremes.
  var rule: Int32 {
    Int32(layout.scheme.scaleRule == .signedExtreme ? qcodec_rule_signed : qcodec_rule_magnitude)
  }

  /// Encodes a chunk; nil where a value was found that the reference is to refuse.
  func encode(
    _ work: ChunkWork, blocks: UnsafeMutableRawBufferPointer, codes: UnsafeMutablePointer<UInt8>, measures: Bool
  ) -> TensorStatistics? {
    var statistics = unsafe emptyStatistics
    let size = blockSize
    let isRepacked = layout.scheme.isRepacked
    // What lies there as float32 is encoded in place, all at once.
    let piece = layout.dtype == .f32 && !isRepacked ? work.count : max(size, ScalarKernels.segment)
    let scratch = KernelScratch(
      elements: layout.dtype == .f32 ? 0 : piece, others: work.divisors.isEmpty ? 0 : size,
      codes: isRepacked ? piece : 0)
    for start in stride(from: 0, to: work.count, by: piece) {
      let count = min(piece, work.count - start)
      let x = unsafe elements(work.source, from: start, count: count, scratch.x)
      let packed = unsafe codes + start * layout.scheme.bits / 8
      let target = unsafe isRepacked ? scratch.codes : packed
      let found = unsafe withUnsafeMutablePointer(to: &statistics) { statistics in
        let statistics = measures ? unsafe statistics : nil
        if size == 0 {
          return unsafe encodeScaled(work, x, from: start, count: count, target, statistics)
        }
        let scales = unsafe (blocks.baseAddress.unsafelyUnwrapped + start / size * blockBytes)
          .assumingMemoryBound(to: Float.self)
        return unsafe encodeBlocks(work, x, from: start, count: count, scales: scales, scratch, target, statistics)
      }
      guard found == 0 else { return nil }
      if isRepacked { unsafe qcodec_pack_codes(level, target, count, Int32(layout.scheme.bits), packed) }
    }
    return measures
      ? unsafe finish(statistics, blocks: UnsafeRawBufferPointer(blocks), codes: codes, count: work.count)
      : TensorStatistics()
  }

  // MARK: Statistics

  /// The statistics of nothing, for kernels to add to.
  var emptyStatistics: qcodec_statistics {
    var statistics = unsafe qcodec_statistics()
    unsafe statistics.slack = slack
    // Safe: the object outlives the call.
    unsafe statistics.cells = cells?.pointer
    return unsafe statistics
  }

  /// What kernels measured of a chunk whose blocks these are.
  func finish(
    _ statistics: qcodec_statistics, blocks: UnsafeRawBufferPointer, codes: UnsafePointer<UInt8>, count: Int
  ) -> TensorStatistics {
    var result = unsafe ChunkStatistics(statistics)
    if table == nil {
      let bits = layout.scheme.bits
      // On a grid the ends are no elements.
      let ranges =
        isOnGrid ? unsafe ScalarKernels.codeRanges(codes, count: count, bits: bits, blockSize: blockSize) : []
      for (index, offset) in stride(from: 0, to: blocks.count, by: blockBytes).enumerated() {
        let low = unsafe blocks.loadUnaligned(fromByteOffset: offset, as: Float.self)
        let high = unsafe blocks.loadUnaligned(fromByteOffset: offset + 4, as: Float.self)
        result.bound(
          LogBlock(low: low, high: high, bits: bits), codes: isOnGrid ? ranges[index] : nil,
          rounding: layout.scheme.rounding, dtype: layout.dtype)
      }
    }
    return result.finish(slack: slack)
  }

  /// Bytes of a block's scale or ends.
  private var blockBytes: Int { table == nil ? 8 : 4 }

  // MARK: Elements

  /// Elements of a chunk as float32: where they lie, or widened into `room`.
  func elements(
    _ source: UnsafeRawBufferPointer, from start: Int, count: Int, _ room: UnsafeMutablePointer<Float>
  ) -> UnsafePointer<Float> {
    let source = unsafe source.baseAddress.unsafelyUnwrapped + start * layout.elementSize
    if layout.dtype == .f32 { return unsafe source.assumingMemoryBound(to: Float.self) }
    unsafe qcodec_widen(level, source, layout.dtype.kernelCode, count, room)
    return unsafe UnsafePointer(room)
  }

  private func encodeBlocks(
    _ work: ChunkWork, _ x: UnsafePointer<Float>, from start: Int, count: Int, scales: UnsafeMutablePointer<Float>,
    _ scratch: KernelScratch, _ codes: UnsafeMutablePointer<UInt8>,
    _ statistics: UnsafeMutablePointer<qcodec_statistics>?
  ) -> Int32 {
    let (size, dtype) = (blockSize, layout.dtype.kernelCode)
    guard let table else {
      return unsafe qcodec_encode_log(
        level, x, count, size, Int32(layout.scheme.bits), dtype, scales, codes, statistics, spacing?.pointer)
    }
    guard layout.scheme.domain == .update else {
      return unsafe qcodec_encode_blocks(
        level, table.pointer, x, count, size, rule, dtype, scales, codes, statistics, spacing?.pointer)
    }
    return unsafe work.divisors.withUnsafeBufferPointer { divisors in
      unsafe qcodec_encode_update(
        level, table.pointer, x, divisors.baseAddress.unsafelyUnwrapped + start, count, size, rule, dtype, scales,
        codes, scratch.others, statistics, spacing?.pointer)
    }
  }

  private func encodeScaled(
    _ work: ChunkWork, _ x: UnsafePointer<Float>, from start: Int, count: Int, _ codes: UnsafeMutablePointer<UInt8>,
    _ statistics: UnsafeMutablePointer<qcodec_statistics>?
  ) -> Int32 {
    guard let table, let scales else { return Int32(qcodec_found_nonfinite) }
    let found = unsafe scales.with(from: work.first + UInt64(start), count: count) { rows in
      unsafe qcodec_encode_scaled(
        level, table.pointer, x, count, rows, layout.dtype.kernelCode, codes, statistics)
    }
    return layout.scheme.signed ? found & Int32(qcodec_found_nonfinite) : found
  }
}

extension Scheme {
  /// Whether kernels may encode where codes belong: as `isRoundedByKernels`, and with codes as kernels have them.
  package var isServedByKernels: Bool { isRoundedByKernels && !isRepacked }

  /// Whether kernels choose codes: under rounding to nearest, where neither sign nor place of an element decides on its code.
  var isRoundedByKernels: Bool { rounding == .nearest && !(map == .linearNoZero && signed) }

  /// Whether kernels have codes one a byte that streams have not: those of other widths than 4 and 8 bits.
  var isRepacked: Bool { bits != 4 && bits != 8 }
}

/// Working memory of a call: elements as float32, quotients or scales, and codes one a byte.
///
/// Safe: allocated and freed with the object; users keep within its capacities.
@safe private final class KernelScratch {
  let x: UnsafeMutablePointer<Float>
  let others: UnsafeMutablePointer<Float>
  let codes: UnsafeMutablePointer<UInt8>

  init(elements: Int, others count: Int, codes codeCount: Int) {
    unsafe x = .allocate(capacity: elements)
    unsafe others = .allocate(capacity: count)
    unsafe codes = .allocate(capacity: codeCount)
  }

  deinit {
    unsafe x.deallocate()
    unsafe others.deallocate()
    unsafe codes.deallocate()
  }
}
