/// Encodes the chunks of one tensor, in any order and on any thread.
public struct ChunkEncoder: Sendable {
  /// How the tensor lies in chunks.
  public let layout: TensorLayout
  let name: String
  /// The scale vector; empty under block scaling.
  let scales: [Float]
  let field: ScaleField
  /// nil for the `log` map.
  let coder: TableCoder?
  private let counter: StochasticCounter?
  let step: EncodingStep
  /// nil where the reference encodes.
  let kernels: ChunkKernels?

  /// An encoder of the tensor `name`, under a layout and the scale vector that `ScalePass` found (empty for blocks).
  ///
  /// - Parameters:
  ///   - step: what a step makes of block scales and of ends; the scale vector has it already.
  ///   - kernels: the instruction set to use; it does not change the result.
  ///
  /// Throws `unsupportedScheme` for an import table or `unknown` rounding, `shapeMismatch` for a scale vector of another
  /// length.
  public init(
    layout: TensorLayout, name: String, scales: [Float], step: EncodingStep = .none, kernels: KernelLevel = .selected
  ) throws(QCodecError) {
    let scheme = layout.scheme
    guard scheme.rounding != .unknown, scheme.scaleRule != .unknown, layout.table?.isImport != true else {
      throw QCodecError(.unsupportedScheme, "imported schemes are decoded, not encoded", tensor: name)
    }
    guard scales.count == layout.scaleCount else {
      throw QCodecError(.shapeMismatch, "\(scales.count) scales for \(layout.scaleCount)", tensor: name)
    }
    self.layout = layout
    self.name = name
    self.scales = scales
    self.step = step
    field = ScaleField(layout: layout)
    coder = withCodecEnvironment { layout.table.flatMap { TableCoder(table: $0, layout: layout, name: name) } }
    counter = scheme.rounding == .stochastic ? StochasticCounter(seed: scheme.seed, tensor: name) : nil
    let own = coder
    self.kernels = withCodecEnvironment { ChunkKernels(layout, coder: own, scales: scales, step: step, level: kernels) }
  }

  /// Encodes one chunk into `payload`, exactly `payloadByteCount(ofChunk:)` bytes; returns what encoding did to it.
  ///
  /// - Parameter divisors: in the update domain what each element is divided by, `ChunkDecoder.divisors` of the second
  ///   moment's chunk; empty in the value domain.
  ///
  /// Throws `nonFiniteValue` or `negativeValue` with the element, `shapeMismatch` where a buffer's size is not the
  /// chunk's, `updateNotFinite` where a quotient, a scale or a decoded value of the update domain is not finite.
  public func encode(
    chunk index: Int, source: UnsafeRawBufferPointer, divisors: [Float] = [],
    into payload: UnsafeMutableRawBufferPointer, measures: Bool = true
  ) throws(QCodecError) -> TensorStatistics {
    let moment = try unsafe moment(chunk: index, source: source, payload: payload)
    let total = source.count / layout.elementSize
    guard divisors.count == (layout.scheme.domain == .update ? total : 0) else {
      throw QCodecError(.shapeMismatch, "chunk \(index) was given \(divisors.count) divisors", tensor: name)
    }
    guard total > 0 else { return TensorStatistics() }
    return try withCodecEnvironment { () throws(QCodecError) in
      let first = layout.elements(ofChunk: index).lowerBound
      let (blocks, codes) = unsafe (moment.blocks, moment.codes)
      let work = unsafe ChunkWork(source: source, divisors: divisors, first: first, count: total)
      if let found = unsafe kernels?.encode(work, blocks: blocks, codes: codes, measures: measures) {
        return found
      }
      let statistics =
        if let coder {
          try unsafe encodeScaled(work, coder: coder, blocks: blocks, codes: codes)
        } else {
          try unsafe encodeLog(source: source, first: first, blocks: blocks, codes: codes, counter: counter)
        }
      return measures ? statistics : TensorStatistics()
    }
  }

  /// A chunk's source and the parts of its payload; throws `shapeMismatch` where either is of another size.
  func moment(
    chunk index: Int, source: UnsafeRawBufferPointer, payload: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) -> PairChunk.Moment {
    guard source.count == layout.sourceByteCount(ofChunk: index),
      payload.count == layout.payloadByteCount(ofChunk: index), let start = payload.baseAddress
    else {
      throw QCodecError(
        .shapeMismatch, "chunk \(index) was given \(source.count) bytes and room for \(payload.count)", tensor: name)
    }
    let split = layout.blockByteCount(elements: source.count / layout.elementSize)
    return unsafe PairChunk.Moment(
      source: source, blocks: UnsafeMutableRawBufferPointer(rebasing: payload[..<split]),
      codes: (start + split).assumingMemoryBound(to: UInt8.self))
  }

  /// The error of the first value that the scheme cannot hold, which a scan of the chunk has seen.
  func refusal(source: UnsafeRawBufferPointer, first: UInt64) -> QCodecError {
    var scan = ValueScan()
    unsafe scan.scan(source: source, dtype: layout.dtype, startingAt: first)
    if let found = scan.firstNonFinite { return ValueScan.nonFinite(found, tensor: name) }
    if let found = scan.firstNegative, !layout.scheme.signed { return ValueScan.negative(found, tensor: name) }
    return notFinite("a quotient")
  }

  func notFinite(_ what: String) -> QCodecError {
    QCodecError(.updateNotFinite, "\(what) of the update domain is not finite", tensor: name)
  }

  func load(_ source: UnsafeRawBufferPointer, from start: Int, count: Int, _ scratch: SegmentScratch) {
    unsafe ScalarKernels.load(
      source.baseAddress.unsafelyUnwrapped + start * layout.elementSize, dtype: layout.dtype, count: count,
      into: scratch.x)
  }
}

/// The elements of one chunk that are being encoded.
///
/// Safe: made and used within one call, whose caller keeps the source alive.
@safe struct ChunkWork {
  let source: UnsafeRawBufferPointer
  /// Empty in the value domain.
  let divisors: [Float]
  /// The chunk's first element within the tensor.
  let first: UInt64
  let count: Int
}

/// What turns normalised values into codes and tells how far these can be off.
struct TableCoder: Sendable {
  let table: MapTable
  let search: CodeSearch
  let radii: CellRadii
  let choice: CodeChoice

  /// nil for an import, which is never encoded with.
  init?(table: MapTable, layout: TensorLayout, name: String) {
    guard let search = table.search else { return nil }
    self.table = table
    self.search = search
    radii = CellRadii(table: table, scheme: layout.scheme, dtype: layout.dtype)
    choice = CodeChoice(table: table, scheme: layout.scheme, tensor: name)
  }
}
