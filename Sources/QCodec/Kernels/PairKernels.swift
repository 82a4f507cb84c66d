import CQCodecKernels

/// Encodes chunks of both moments in one pass, by kernels: a first moment of the update domain in blocks, its second
/// moment under the `log` map.
struct PairKernels: Sendable {
  private let first: ChunkKernels
  private let second: ChunkKernels
  private let table: KernelTable

  /// nil where the moments are to be encoded one after the other.
  init?(first: ChunkKernels?, second: ChunkKernels?) {
    guard let first, let second, first.level == second.level, let table = first.table, second.table == nil,
      first.layout.scheme.domain == .update
    else { return nil }
    self.first = first
    self.second = second
    self.table = table
  }

  /// Encodes a chunk of both; nil where something was found that the separate encoders are to refuse.
  func encode(_ work: PairChunk, measures: Bool, epsilon: Double?) -> PairEncoder.Outcome? {
    var statistics = unsafe (first: first.emptyStatistics, second: second.emptyStatistics)
    var updates = qcodec_update_error()
    let (m, v) = (first.layout, second.layout)
    let step = max(first.blockSize, second.blockSize)
    let isRepacked = m.scheme.isRepacked || v.scheme.isRepacked
    let isDirect = m.dtype == .f32 && v.dtype == .f32 && epsilon == nil && !isRepacked
    let piece = isDirect ? work.count : max(step, ScalarKernels.segment)
    let scratch = PairScratch(step: step, piece: isDirect ? 0 : piece)
    for start in stride(from: 0, to: work.count, by: piece) {
      let count = min(piece, work.count - start)
      let sources = unsafe (
        first: first.elements(work.first.source, from: start, count: count, scratch.x),
        second: second.elements(work.second.source, from: start, count: count, scratch.v)
      )
      let parts = work.parts(from: start, layouts: (m, v), blocks: (first.blockSize, second.blockSize))
      let codes = unsafe (
        first: m.scheme.isRepacked ? scratch.codes : parts.codes,
        second: v.scheme.isRepacked ? scratch.secondCodes : parts.secondCodes
      )
      var pair = unsafe kernelPair
      let found = unsafe withUnsafeMutablePointer(to: &statistics) { statistics in
        unsafe qcodec_encode_pair(
          first.level, &pair, sources.first, sources.second, count, parts.scales, codes.first, parts.ends,
          codes.second, scratch.work, measures ? statistics.pointer(to: \.first) : nil,
          measures ? statistics.pointer(to: \.second) : nil)
      }
      guard found == 0 else { return nil }
      if m.scheme.isRepacked { unsafe first.pack(codes.first, count: count, into: parts.codes) }
      if v.scheme.isRepacked { unsafe second.pack(codes.second, count: count, into: parts.secondCodes) }
      if let epsilon {
        unsafe qcodec_decode_pair(
          first.level, &pair, parts.scales, codes.first, parts.ends, codes.second, 0, count, scratch.decoded,
          scratch.decodedSecond)
        unsafe first.round(scratch.decoded, count: count, through: scratch.narrow)
        unsafe second.round(scratch.decodedSecond, count: count, through: scratch.narrow)
        unsafe qcodec_measure_updates(
          first.level, sources.first, sources.second, scratch.decoded, scratch.decodedSecond, count, epsilon, &updates)
      }
    }
    var outcome = PairEncoder.Outcome()
    if measures {
      outcome.first = unsafe first.finish(
        statistics.first, blocks: .init(work.first.blocks), codes: work.first.codes, count: work.count)
      outcome.second = unsafe second.finish(
        statistics.second, blocks: .init(work.second.blocks), codes: work.second.codes, count: work.count)
    }
    outcome.update = epsilon.map { UpdateError(epsilon: $0, updates) }
    return outcome
  }

  /// Both schemes as kernels want them.
  private var kernelPair: qcodec_pair {
    unsafe qcodec_pair(
      table: table.pointer, block: first.blockSize, rule: first.rule, dtype: first.layout.dtype.kernelCode,
      second_block: second.blockSize, second_bits: Int32(second.layout.scheme.bits),
      second_dtype: second.layout.dtype.kernelCode, spacing: first.spacing?.pointer,
      second_spacing: second.spacing?.pointer)
  }
}

/// One chunk of both moments that is being encoded.
///
/// Safe: made and used within one call, whose caller keeps sources and payloads alive.
@safe struct PairChunk {
  /// What is encoded and where to: the payload's blocks and its codes.
  @safe struct Moment {
    let source: UnsafeRawBufferPointer
    let blocks: UnsafeMutableRawBufferPointer
    let codes: UnsafeMutablePointer<UInt8>
  }

  let first: Moment
  let second: Moment
  let count: Int

  /// Where the scales and codes of elements from `start` on belong.
  fileprivate func parts(
    from start: Int, layouts: (first: TensorLayout, second: TensorLayout), blocks: (first: Int, second: Int)
  ) -> Parts {
    unsafe Parts(
      scales: first.blocks.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self) + start / blocks.first,
      codes: first.codes + start * layouts.first.scheme.bits / 8,
      ends: second.blocks.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self)
        + start / blocks.second * 2, secondCodes: second.codes + start * layouts.second.scheme.bits / 8)
  }

  @safe fileprivate struct Parts {
    let scales: UnsafeMutablePointer<Float>
    let codes: UnsafeMutablePointer<UInt8>
    let ends: UnsafeMutablePointer<Float>
    let secondCodes: UnsafeMutablePointer<UInt8>
  }
}

extension ChunkKernels {
  /// Packs codes that kernels have one a byte.
  fileprivate func pack(_ codes: UnsafePointer<UInt8>, count: Int, into target: UnsafeMutablePointer<UInt8>) {
    unsafe qcodec_pack_codes(level, codes, count, Int32(layout.scheme.bits), target)
  }

  /// Rounds values to the tensor's dtype, in place.
  fileprivate func round(_ values: UnsafeMutablePointer<Float>, count: Int, through narrow: UnsafeMutableRawPointer) {
    guard layout.dtype != .f32 else { return }
    unsafe qcodec_narrow(level, values, layout.dtype.kernelCode, count, narrow)
    unsafe qcodec_widen(level, narrow, layout.dtype.kernelCode, count, values)
  }
}

/// Working memory of a call.
///
/// Safe: allocated and freed with the object; users keep within a step and a piece.
@safe private final class PairScratch {
  private let memory: UnsafeMutablePointer<Float>
  /// Two steps of floats.
  let work: UnsafeMutablePointer<Float>
  /// A piece of floats each: both moments as given and as decoded, and room for one of them narrowed.
  let x: UnsafeMutablePointer<Float>
  let v: UnsafeMutablePointer<Float>
  let decoded: UnsafeMutablePointer<Float>
  let decodedSecond: UnsafeMutablePointer<Float>
  let narrow: UnsafeMutableRawPointer
  /// A piece of codes each, one a byte: of both moments.
  let codes: UnsafeMutablePointer<UInt8>
  let secondCodes: UnsafeMutablePointer<UInt8>

  init(step: Int, piece: Int) {
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: 2 * step + 5 * piece)
    let codes = UnsafeMutablePointer<UInt8>.allocate(capacity: 2 * piece)
    unsafe self.codes = codes
    unsafe secondCodes = codes + piece
    unsafe self.memory = memory
    unsafe work = memory
    unsafe x = memory + 2 * step
    unsafe v = memory + (2 * step + piece)
    unsafe decoded = memory + (2 * step + 2 * piece)
    unsafe decodedSecond = memory + (2 * step + 3 * piece)
    unsafe narrow = UnsafeMutableRawPointer(memory + (2 * step + 4 * piece))
  }

  deinit {
    unsafe memory.deallocate()
    unsafe codes.deallocate()
  }
}
