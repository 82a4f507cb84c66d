/// Encodes tensors in memory to streams and back.
///
/// A stream is what a file's chunks hold, end to end: the scale vector, then each chunk's block scales and codes. It has
/// no header; shape, dtype and scheme are the caller's to keep (a checkpoint keeps them in its directory).
///
/// ```swift
/// let codec = try TensorCodec(dtype: .f32, shape: [1024, 768], scheme: .init(
///   map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
/// let (stream, statistics) = try codec.encode(values)
/// let restored = try codec.decode(stream)
/// ```
public struct TensorCodec: Sendable {
  /// The resolved scheme and the sizes of every part.
  public let layout: TensorLayout

  /// A codec for tensors of one dtype and shape; throws `unsupportedScheme` and `limitExceeded` as `TensorLayout` does.
  ///
  /// A scheme of the update domain is refused: its tensors take a second moment, see `MomentCodec`.
  public init(dtype: DType, shape: [UInt64], scheme: Scheme) throws(QCodecError) {
    guard scheme.domain == .value else {
      throw QCodecError(.unsupportedScheme, "a tensor of the update domain is encoded with its second moment")
    }
    layout = try TensorLayout(dtype: dtype, shape: shape, scheme: scheme)
  }

  /// Bytes of a stream: exact, not only a bound.
  public var encodedByteCount: Int { layout.streamByteCount }

  /// Bytes of the decoded tensor.
  public var decodedByteCount: Int { Int(layout.sourceByteCount) }

  /// Encodes a whole tensor; returns what encoding did to it.
  ///
  /// - Parameters:
  ///   - source: the elements in C order, exactly `decodedByteCount` bytes, of any alignment.
  ///   - name: the tensor's name, for errors and as the key of stochastic rounding.
  ///   - stream: exactly `encodedByteCount` bytes.
  ///   - threads: threads to use, `availableThreads()` by default; they do not change the result.
  ///
  /// Throws `nonFiniteValue` and `negativeValue` with the element of lowest chunk, `shapeMismatch` for a buffer of
  /// another size. O(elements).
  public func encode(
    _ source: RawSpan, name: String = "", into stream: inout MutableRawSpan, threads: Int? = nil
  ) throws(QCodecError) -> TensorStatistics {
    try checkSizes(source: source.byteCount, stream: stream.byteCount)
    return try unsafe source.withUnsafeBytes { source throws(QCodecError) in
      try unsafe stream.withUnsafeMutableBytes { stream throws(QCodecError) in
        try unsafe encode(source, name: name, into: stream, threads: threads ?? availableThreads())
      }
    }
  }

  /// Decodes a whole tensor from its stream into exactly `decodedByteCount` bytes.
  ///
  /// Throws `invalidScale` and `invalidCode` for contents that no encoder writes, `shapeMismatch` for a buffer of
  /// another size.
  public func decode(
    _ stream: RawSpan, into values: inout MutableRawSpan, threads: Int? = nil
  ) throws(QCodecError) {
    try decode(elements: 0..<layout.elementCount, of: stream, into: &values, threads: threads)
  }

  /// Decodes a range of indices of the first axis; reads only the chunks that hold it.
  ///
  /// `values` has exactly the bytes of those rows. Throws as `decode`, and `invalidArgument` for rows outside the shape.
  public func decodeRows(
    _ rows: Range<UInt64>, of stream: RawSpan, into values: inout MutableRawSpan, threads: Int? = nil
  ) throws(QCodecError) {
    let elements = try layout.elements(ofRows: rows)
    try decode(elements: elements, of: stream, into: &values, threads: threads)
  }
}

extension TensorLayout {
  /// The elements of a range of indices of the first axis; a scalar has one row. Throws `invalidArgument` outside it.
  public func elements(ofRows rows: Range<UInt64>) throws(QCodecError) -> Range<UInt64> {
    try Self.elements(ofRows: rows, shape: shape, elementCount: elementCount)
  }

  /// As `elements(ofRows:)`, for a tensor of any kind.
  public static func elements(
    ofRows rows: Range<UInt64>, shape: [UInt64], elementCount: UInt64
  ) throws(QCodecError) -> Range<UInt64> {
    let length = shape.first ?? 1
    guard rows.upperBound <= length else {
      throw QCodecError(.invalidArgument, "rows \(rows) of a tensor of \(length)")
    }
    let row = length == 0 ? 0 : elementCount / length
    return rows.lowerBound * row..<rows.upperBound * row
  }
}

// MARK: - Over pointers

extension TensorCodec {
  private func checkSizes(source: Int, stream: Int) throws(QCodecError) {
    guard source == decodedByteCount else {
      throw QCodecError(.shapeMismatch, "the tensor has \(decodedByteCount) bytes, the buffer \(source)")
    }
    guard stream == encodedByteCount else {
      throw QCodecError(.shapeMismatch, "the stream has \(encodedByteCount) bytes, the buffer \(stream)")
    }
  }

  private func encode(
    _ source: UnsafeRawBufferPointer, name: String, into stream: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) -> TensorStatistics {
    let scales = try withCodecEnvironment { () throws(QCodecError) in try unsafe scaleVector(of: source, name: name) }
    let encoder = try ChunkEncoder(layout: layout, name: name, scales: scales)
    unsafe scales.withUnsafeBytes { bytes in
      unsafe UnsafeMutableRawBufferPointer(rebasing: stream[..<bytes.count]).copyMemory(from: bytes)
    }
    let results = ResultSlots<TensorStatistics>(count: layout.codeChunkCount)
    // Safe: every chunk reads and writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let (source, stream) = unsafe (source, stream)
    try parallelFor(count: layout.codeChunkCount, threads: threads) { index throws(QCodecError) in
      let from = index * TensorLayout.chunkElements * layout.elementSize
      let to = layout.streamOffset(ofChunk: index)
      results[index] = try unsafe encoder.encode(
        chunk: index,
        source: UnsafeRawBufferPointer(rebasing: source[from..<from + layout.sourceByteCount(ofChunk: index)]),
        into: UnsafeMutableRawBufferPointer(rebasing: stream[to..<to + layout.payloadByteCount(ofChunk: index)]))
    }
    return withCodecEnvironment {
      results.inOrder.reduce(into: TensorStatistics()) { $0.append($1) }
    }
  }

  private func scaleVector(of source: UnsafeRawBufferPointer, name: String) throws(QCodecError) -> [Float] {
    guard ScalePass.isNeeded(for: layout) else { return [] }
    let pass = ScalePass(layout: layout)
    var scan = ValueScan()
    for index in 0..<layout.codeChunkCount {
      let from = index * TensorLayout.chunkElements * layout.elementSize
      let chunk = unsafe UnsafeRawBufferPointer(rebasing: source[from..<from + layout.sourceByteCount(ofChunk: index)])
      // A poisoned scale would reach every element: values are looked over before scales are taken.
      unsafe scan.scan(source: chunk, dtype: layout.dtype, startingAt: layout.elements(ofChunk: index).lowerBound)
      if let found = scan.firstNonFinite { throw ValueScan.nonFinite(found, tensor: name) }
      try unsafe pass.accumulate(chunk: index, source: chunk)
    }
    return pass.finish()
  }

  private func decode(
    elements: Range<UInt64>, of stream: RawSpan, into values: inout MutableRawSpan, threads: Int?
  ) throws(QCodecError) {
    let size = layout.elementSize
    guard values.byteCount == Int(elements.upperBound - elements.lowerBound) * size else {
      throw QCodecError(.shapeMismatch, "room for \(values.byteCount) bytes and elements \(elements)")
    }
    try checkSizes(source: decodedByteCount, stream: stream.byteCount)
    try unsafe stream.withUnsafeBytes { stream throws(QCodecError) in
      let scales = unsafe [Float](unsafeUninitializedCapacity: layout.scaleCount) { buffer, initialized in
        unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(
          from: .init(rebasing: stream[..<(layout.scaleCount * 4)]))
        initialized = layout.scaleCount
      }
      let decoder = try ChunkDecoder(layout: layout, scales: scales)
      try unsafe values.withUnsafeMutableBytes { values throws(QCodecError) in
        try unsafe decodeChunks(
          elements, of: stream, with: decoder, into: values, threads: threads ?? availableThreads())
      }
    }
  }

  private func decodeChunks(
    _ elements: Range<UInt64>, of stream: UnsafeRawBufferPointer, with decoder: ChunkDecoder,
    into values: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) {
    guard !elements.isEmpty else { return }
    let chunks = layout.chunks(holding: elements)
    // Safe: every chunk writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let (stream, values) = unsafe (stream, values)
    try parallelFor(count: chunks.count, threads: threads) { index throws(QCodecError) in
      let chunk = chunks.lowerBound + index
      let held = layout.elements(ofChunk: chunk)
      let wanted = held.clamped(to: elements)
      let to = Int(wanted.lowerBound - elements.lowerBound) * layout.elementSize
      let from = layout.streamOffset(ofChunk: chunk)
      let count = Int(wanted.upperBound - wanted.lowerBound)
      let start = Int(wanted.lowerBound - held.lowerBound)
      try unsafe decoder.decode(
        chunk: chunk,
        payload: UnsafeRawBufferPointer(rebasing: stream[from..<from + layout.payloadByteCount(ofChunk: chunk)]),
        elements: start..<start + count,
        into: UnsafeMutableRawBufferPointer(rebasing: values[to..<to + count * layout.elementSize]))
    }
  }
}

extension TensorLayout {
  /// The code chunks that hold a non-empty range of elements.
  public func chunks(holding elements: Range<UInt64>) -> Range<Int> {
    let size = UInt64(Self.chunkElements)
    return Int(elements.lowerBound / size)..<Int((elements.upperBound + size - 1) / size)
  }
}
