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
    try scheme.refuseEscapes()
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
        try unsafe StreamCoder(layout: layout).encode(
          source, name: name, into: stream, threads: threads ?? availableThreads())
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

  private func decode(
    elements: Range<UInt64>, of stream: RawSpan, into values: inout MutableRawSpan, threads: Int?
  ) throws(QCodecError) {
    guard values.byteCount == Int(elements.upperBound - elements.lowerBound) * layout.elementSize else {
      throw QCodecError(.shapeMismatch, "room for \(values.byteCount) bytes and elements \(elements)")
    }
    try checkSizes(source: decodedByteCount, stream: stream.byteCount)
    try unsafe stream.withUnsafeBytes { stream throws(QCodecError) in
      try unsafe values.withUnsafeMutableBytes { values throws(QCodecError) in
        try unsafe StreamCoder(layout: layout).decode(
          elements, of: stream, into: values, threads: threads ?? availableThreads())
      }
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
