/// Encodes the chunks of one tensor, in any order and on any thread.
public struct ChunkEncoder: Sendable {
  public let layout: TensorLayout
  private let name: String
  private let scales: [Float]
  private let field: ScaleField
  private let search: CodeSearch
  private let radii: CellRadii
  private let choice: CodeChoice

  /// An encoder of the tensor `name`, under a layout and the scale vector that `ScalePass` found (empty for blocks).
  ///
  /// Throws `unsupportedScheme` for an import table or `unknown` rounding, `shapeMismatch` for a scale vector of another
  /// length.
  public init(layout: TensorLayout, name: String, scales: [Float]) throws(QCodecError) {
    guard let search = layout.table.search, layout.scheme.rounding != .unknown, layout.scheme.scaleRule != .unknown
    else { throw QCodecError(.unsupportedScheme, "imported schemes are decoded, not encoded", tensor: name) }
    guard scales.count == layout.scaleCount else {
      throw QCodecError(.shapeMismatch, "\(scales.count) scales for \(layout.scaleCount)", tensor: name)
    }
    self.layout = layout
    self.name = name
    self.scales = scales
    self.search = search
    field = ScaleField(layout: layout)
    radii = withCodecEnvironment { CellRadii(table: layout.table, scheme: layout.scheme, dtype: layout.dtype) }
    choice = withCodecEnvironment { CodeChoice(table: layout.table, scheme: layout.scheme, tensor: name) }
  }

  /// Encodes one chunk into `payload`, exactly `payloadByteCount(ofChunk:)` bytes; returns what encoding did to it.
  ///
  /// Throws `nonFiniteValue` or `negativeValue` with the element, `shapeMismatch` where a buffer's size is not the
  /// chunk's.
  public func encode(
    chunk index: Int, source: UnsafeRawBufferPointer, into payload: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) -> TensorStatistics {
    guard source.count == layout.sourceByteCount(ofChunk: index),
      payload.count == layout.payloadByteCount(ofChunk: index)
    else {
      throw QCodecError(
        .shapeMismatch, "chunk \(index) was given \(source.count) bytes and room for \(payload.count)", tensor: name)
    }
    guard source.count > 0 else { return TensorStatistics() }
    return try withCodecEnvironment { () throws(QCodecError) in
      let scratch = SegmentScratch()
      let first = layout.elements(ofChunk: index).lowerBound
      let vector = try unsafe chunkScales(source: source, first: first, scratch: scratch)
      let codes = unsafe UnsafeMutableRawBufferPointer(rebasing: payload[(vector.own * 4)...])
      return unsafe vector.values.withUnsafeBufferPointer { values in
        if vector.own > 0 { unsafe payload.copyMemory(from: UnsafeRawBufferPointer(values)) }
        return unsafe encodeSegments(
          source: source, first: first, vector: values.baseAddress.unsafelyUnwrapped, scratch: scratch, codes: codes)
      }
    }
  }

  // MARK: Scales

  /// The scales that the chunk's elements refer to, and how many of them are the chunk's own; checks every value.
  private func chunkScales(
    source: UnsafeRawBufferPointer, first: UInt64, scratch: SegmentScratch
  ) throws(QCodecError) -> (values: [Float], own: Int) {
    let total = source.count / layout.elementSize
    var blocks: [Float] = []
    let run = if case .block(let size) = layout.scheme.scaling { size } else { total }
    for start in stride(from: 0, to: total, by: run) {
      var extreme = ScalarKernels.Extreme()
      for piece in stride(from: start, to: min(start + run, total), by: ScalarKernels.segment) {
        let count = min(ScalarKernels.segment, min(start + run, total) - piece)
        unsafe load(source, from: piece, count: count, scratch)
        unsafe ScalarKernels.scan(scratch.x, count: count, into: &extreme)
        if extreme.isNonFinite || (extreme.isNegative && !layout.scheme.signed) {
          throw unsafe refusal(source: source, first: first)
        }
      }
      blocks.append(layout.scheme.scaleRule == .signedExtreme ? extreme.value : extreme.value.magnitude)
    }
    if case .block = layout.scheme.scaling { return (blocks, blocks.count) }
    return (scales, 0)
  }

  private func refusal(source: UnsafeRawBufferPointer, first: UInt64) -> QCodecError {
    var scan = ValueScan()
    unsafe scan.scan(source: source, dtype: layout.dtype, startingAt: first)
    if let found = scan.firstNonFinite { return ValueScan.nonFinite(found, tensor: name) }
    guard let found = scan.firstNegative else { preconditionFailure("a scan refused what another accepts") }
    return ValueScan.negative(found, tensor: name)
  }

  // MARK: Codes

  private func encodeSegments(
    source: UnsafeRawBufferPointer, first: UInt64, vector: UnsafePointer<Float>, scratch: SegmentScratch,
    codes: UnsafeMutableRawBufferPointer
  ) -> TensorStatistics {
    let total = source.count / layout.elementSize
    let packed = unsafe codes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
    let origin: UInt64 = if case .block = layout.scheme.scaling { 0 } else { first }
    var statistics = ChunkStatistics()
    for start in stride(from: 0, to: total, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, total - start)
      unsafe load(source, from: start, count: count, scratch)
      unsafe field.fill(from: origin + UInt64(start), count: count, vector: vector, into: scratch.scales)
      unsafe ScalarKernels.normalise(scratch.x, scales: scratch.scales, count: count, into: scratch.values)
      unsafe ScalarKernels.nearest(scratch.values, count: count, search: search, into: scratch.codes)
      choice.adjust(scratch, count: count, firstIndex: first + UInt64(start))
      // A segment is even, so the codes of each begin on a byte.
      unsafe ScalarKernels.pack(
        scratch.codes, count: count, bits: layout.scheme.bits, into: packed + start * layout.scheme.bits / 8)
      measure(scratch, count: count, into: &statistics)
    }
    return statistics.finish(slack: radii.slack)
  }

  private func measure(_ scratch: SegmentScratch, count: Int, into statistics: inout ChunkStatistics) {
    unsafe layout.table.entries.withUnsafeBufferPointer { entries in
      unsafe ScalarKernels.decode(
        scratch.codes, scales: scratch.scales, count: count, entries: entries.baseAddress.unsafelyUnwrapped,
        into: scratch.values)
    }
    unsafe ScalarKernels.round(scratch.values, count: count, to: layout.dtype)
    unsafe radii.radii.withUnsafeBufferPointer { radii in
      unsafe ScalarKernels.measure(
        scratch.x, values: scratch.values, scales: scratch.scales, codes: scratch.codes, count: count,
        radii: radii.baseAddress.unsafelyUnwrapped, into: &statistics)
    }
  }

  private func load(_ source: UnsafeRawBufferPointer, from start: Int, count: Int, _ scratch: SegmentScratch) {
    unsafe ScalarKernels.load(
      source.baseAddress.unsafelyUnwrapped + start * layout.elementSize, dtype: layout.dtype, count: count,
      into: scratch.x)
  }
}
