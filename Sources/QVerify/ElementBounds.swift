import QCheckpoint
import QCodec

/// A quantized tensor of a file, read chunk by chunk in plain code.
struct PlainTensor: Sendable {
  private let reader: CheckpointReader
  private let places: ChunkPlaces
  private let decoder: ChunkDecoder
  let layout: TensorLayout
  let scales: [Float]

  /// Throws `invalidReference` for a lossless tensor, else as reading the scale vector does.
  init(_ reader: CheckpointReader, _ index: Int) throws(QCodecError) {
    guard let layout = try reader.layout(of: index) else {
      throw QCodecError(.invalidReference, "a lossless tensor is referred to", tensor: reader.tensor(index).name)
    }
    try self.init(reader, index, layout: layout)
  }

  init(_ reader: CheckpointReader, _ index: Int, layout: TensorLayout) throws(QCodecError) {
    self.reader = reader
    self.layout = layout
    places = reader.tensor(index).chunks
    scales = try reader.scales(of: index)
    decoder = try ChunkDecoder(layout: layout, scales: scales)
  }

  /// One chunk; throws for scales and codes that no encoder writes, as the codec's decoder finds them.
  func chunk(_ index: Int) throws(QCodecError) -> PlainChunk {
    let place = places.data(index)
    let payload = try reader.payload(ofChunk: place)
    do throws(QCodecError) {
      try unsafe payload.withBytes { bytes throws(QCodecError) in
        try unsafe decoder.check(chunk: index, payload: bytes)
      }
    } catch {
      throw QCodecError(error.code, error.message, offset: reader.chunk(place).offset, index: error.index)
    }
    return PlainChunk(layout: layout, scales: scales, payload: payload, chunk: index)
  }
}

/// A chunk, and in the update domain the same chunk of the second moment.
struct PlainPair {
  let own: PlainChunk
  let second: PlainChunk?
}

/// The bounds of a tensor's elements under whatever scheme it has.
struct ElementBounds: Sendable {
  private let scheme: SchemeBound
  let log: LogBound?
  private let isUnknown: Bool

  init(layout: TensorLayout) {
    scheme = SchemeBound(layout: layout)
    log = layout.scheme.map == .log ? LogBound(layout: layout) : nil
    isUnknown = layout.scheme.rounding == .unknown
  }

  /// The bounds of one element, or nil where nothing is guaranteed.
  func limit(_ chunk: PlainChunk, _ index: Int, divisor: Float?) -> Guarantee? {
    if isUnknown { return nil }
    if let escape = chunk.escape(index) { return escape.guarantee(isLog: log != nil, divisor: divisor) }
    return codeLimit(chunk, index, divisor: divisor)
  }

  /// The bounds of what the code of an element decodes to, which count in the guarantee where the element is escaped too.
  func codeLimit(_ chunk: PlainChunk, _ index: Int, divisor: Float?) -> Guarantee? {
    if isUnknown { return nil }
    if let log {
      let ends = chunk.ends(index)
      let code = chunk.code(index)
      // The code of zero is exact; its end, which may lie far below the elements, says nothing of these.
      if ends.hasZeros, code == 0 { return Guarantee(absolute: 0, relative: 0) }
      return Guarantee(
        absolute: log.bound(ends, code: code), relative: log.guarantees(ends, codes: code...code).relative)
    }
    let (code, scale) = (chunk.code(index), chunk.scale(index))
    guard let divisor else { return scheme.bound(code: code, scale: scale).map { Guarantee(absolute: $0) } }
    // No encoder writes what decodes to an infinity.
    if !chunk.value(index, divisor: divisor).isFinite { return Guarantee(absolute: .infinity, relative: .infinity) }
    return scheme.bounds(code: code, scale: scale, divisor: divisor).map {
      Guarantee(absolute: $0.absolute, relative: $0.relative)
    }
  }

  /// Takes in what is guaranteed of blocks together: under `log`, where it follows from their ends, and in the update
  /// domain, from the largest radius and the extreme divisors of each.
  func takeGuarantees(of chunk: PlainPair, into result: inout Measurement) {
    if let second = chunk.second { takeUpdateGuarantees(of: chunk.own, second, into: &result) }
    guard let log else { return }
    guard case .block(let size) = chunk.own.layout.scheme.scaling else { return }
    for start in chunk.own.blockStarts {
      let ends = chunk.own.ends(start)
      // The code of zero apart.
      let codes = (start..<min(start + size, chunk.own.count)).map { chunk.own.code($0) }
        .filter { !ends.hasZeros || $0 > 0 }
      let block = log.guarantees(ends, codes: (codes.min() ?? 0)...(codes.max() ?? 0))
      result.take(guarantee: Guarantee(absolute: block.absolute, relative: block.relative))
    }
  }

  private func takeUpdateGuarantees(of own: PlainChunk, _ second: PlainChunk, into result: inout Measurement) {
    guard !isUnknown, case .block(let size) = own.layout.scheme.scaling else { return }
    for start in own.blockStarts {
      let elements = start..<min(start + size, own.count)
      let divisors = elements.map { second.divisor($0) }
      let codes = Set(elements.map { own.code($0) })
      // The code of the largest radius has the largest bounds at every scale.
      for code in codes {
        guard let least = divisors.min(), let greatest = divisors.max(),
          let wide = scheme.bounds(code: code, scale: own.scale(start), divisor: greatest),
          let narrow = scheme.bounds(code: code, scale: own.scale(start), divisor: least)
        else { continue }
        result.take(guarantee: Guarantee(absolute: wide.absolute, relative: narrow.relative))
      }
    }
  }
}
