import CQCodecKernels

/// Encodes chunks by the kernels of a level; what they do not serve is the reference's.
struct ChunkKernels: Sendable {
  private let level: Int32
  private let layout: TensorLayout
  /// nil under block scaling.
  private let scales: KernelScales?
  /// nil for the `log` map.
  private let table: KernelTable?
  private let radii: KernelRadii?
  private let slack: Double

  /// The kernels of a scheme, or nil where the reference encodes: at the scalar level, under rounding other than to
  /// nearest, and where an element's sign or place decides on its code.
  init?(_ layout: TensorLayout, coder: TableCoder?, scales: [Float], level: KernelLevel) {
    let scheme = layout.scheme
    guard level != .scalar, scheme.rounding == .nearest, !(scheme.map == .linearNoZero && scheme.signed) else {
      return nil
    }
    if let coder {
      let table = coder.table.kernelTable
      guard table.encodes else { return nil }
      if scheme.domain == .update { guard case .block = scheme.scaling else { return nil } }
      self.table = table
      radii = KernelRadii(coder.radii, bits: scheme.bits)
      slack = coder.radii.slack
    } else {
      (table, radii, slack) = (nil, nil, 0)
    }
    self.level = level.rawValue
    self.layout = layout
    self.scales = KernelScales(layout, vector: scales, table: table, level: level.rawValue)
  }

  /// Encodes a chunk; nil where a value was found that the reference is to refuse.
  func encode(
    _ work: ChunkWork, blocks: UnsafeMutableRawBufferPointer, codes: UnsafeMutablePointer<UInt8>
  ) -> TensorStatistics? {
    var statistics = unsafe qcodec_statistics()
    unsafe statistics.slack = slack
    // Safe: the object outlives the call.
    unsafe statistics.radii = radii?.pointer
    let size: Int = if case .block(let size) = layout.scheme.scaling { size } else { 0 }
    let room = max(size, ScalarKernels.segment)
    // Elements that are not copied need no pieces.
    let piece = size == 0 && layout.dtype == .f32 ? work.count : room
    let scratch = KernelScratch(capacity: room)
    for start in stride(from: 0, to: work.count, by: piece) {
      let count = min(piece, work.count - start)
      let x = unsafe elements(work, from: start, count: count, scratch)
      let target = unsafe codes + start * layout.scheme.bits / 8
      let part = unsafe UnsafeMutableRawBufferPointer(rebasing: blocks[(size == 0 ? 0 : start / size * blockBytes)...])
      let own = unsafe part.baseAddress?.assumingMemoryBound(to: Float.self)
      let found =
        size == 0
        ? unsafe encodeScaled(work, x, from: start, count: count, target, &statistics)
        : unsafe encodeBlocks(work, x, from: start, count: count, size, scales: own, scratch, target, &statistics)
      guard found == 0 else { return nil }
    }
    var result = unsafe ChunkStatistics(statistics)
    if table == nil { unsafe boundLog(blocks, &result) }
    return result.finish(slack: slack)
  }

  private var blockBytes: Int { table == nil ? 8 : 4 }

  /// The elements as float32: where they lie, or widened.
  private func elements(
    _ work: ChunkWork, from start: Int, count: Int, _ scratch: KernelScratch
  ) -> UnsafePointer<Float> {
    let source = unsafe work.source.baseAddress.unsafelyUnwrapped + start * layout.elementSize
    if layout.dtype == .f32 { return unsafe source.assumingMemoryBound(to: Float.self) }
    unsafe qcodec_widen(level, source, layout.dtype.kernelCode, count, scratch.x)
    return unsafe UnsafePointer(scratch.x)
  }

  private func encodeBlocks(
    _ work: ChunkWork, _ x: UnsafePointer<Float>, from start: Int, count: Int, _ size: Int,
    scales: UnsafeMutablePointer<Float>?, _ scratch: KernelScratch, _ codes: UnsafeMutablePointer<UInt8>,
    _ statistics: inout qcodec_statistics
  ) -> Int32 {
    let dtype = layout.dtype.kernelCode
    guard let table else {
      return unsafe qcodec_encode_log(
        level, x, count, size, Int32(layout.scheme.bits), dtype, scales, codes, &statistics)
    }
    let rule = layout.scheme.scaleRule == .signedExtreme ? qcodec_rule_signed : qcodec_rule_magnitude
    guard layout.scheme.domain == .update else {
      return unsafe qcodec_encode_blocks(
        level, table.pointer, x, count, size, Int32(rule), dtype, scales, codes, &statistics)
    }
    return unsafe work.divisors.withUnsafeBufferPointer { divisors in
      let divisors = unsafe divisors.baseAddress.unsafelyUnwrapped + start
      var found = unsafe qcodec_divide(level, x, divisors, count, scratch.u)
      let rounded = Int32(rule) | Int32(qcodec_rule_rounded)
      found |= unsafe qcodec_encode_blocks(
        level, table.pointer, scratch.u, count, size, rounded, dtype, scales, codes, nil)
      guard found == 0 else { return found }
      return unsafe qcodec_measure_update(
        level, table.pointer, x, scratch.u, divisors, count, size, dtype, scales, codes, &statistics)
    }
  }

  private func encodeScaled(
    _ work: ChunkWork, _ x: UnsafePointer<Float>, from start: Int, count: Int, _ codes: UnsafeMutablePointer<UInt8>,
    _ statistics: inout qcodec_statistics
  ) -> Int32 {
    guard let table, let scales else { return Int32(qcodec_found_nonfinite) }
    let found = unsafe scales.with(from: work.first + UInt64(start), count: count) { rows in
      unsafe qcodec_encode_scaled(
        level, table.pointer, x, count, rows, layout.dtype.kernelCode, codes, &statistics)
    }
    return layout.scheme.signed ? found & Int32(qcodec_found_nonfinite) : found
  }

  /// Takes in what the ends of a chunk's `log` blocks admit.
  private func boundLog(_ blocks: UnsafeMutableRawBufferPointer, _ result: inout ChunkStatistics) {
    for offset in stride(from: 0, to: blocks.count, by: 8) {
      let low = unsafe blocks.loadUnaligned(fromByteOffset: offset, as: Float.self)
      let high = unsafe blocks.loadUnaligned(fromByteOffset: offset + 4, as: Float.self)
      result.bound(
        LogBlock(low: low, high: high, bits: layout.scheme.bits), rounding: layout.scheme.rounding, dtype: layout.dtype)
    }
  }
}

/// Working memory of a call: elements as float32 and quotients or scales.
///
/// Safe: allocated and freed with the object; users keep within its capacity.
@safe private final class KernelScratch {
  let x: UnsafeMutablePointer<Float>
  let u: UnsafeMutablePointer<Float>

  init(capacity: Int) {
    unsafe x = .allocate(capacity: capacity)
    unsafe u = .allocate(capacity: capacity)
  }

  deinit {
    unsafe x.deallocate()
    unsafe u.deallocate()
  }
}
