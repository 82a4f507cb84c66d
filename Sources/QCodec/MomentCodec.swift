/// Encodes a first moment in memory in the update domain, divided by the root of its second moment.
///
/// Both moments have one shape. The second moment is a stream of its own under `log` or another unsigned map, which
/// `TensorCodec` decodes alone; the first is read with the second's stream at hand.
///
/// ```swift
/// let codec = try MomentCodec(
///   shape: [1024, 768],
///   first: .init(map: .linear, bits: 8, signed: true, scaling: .block(256), domain: .update),
///   second: .init(map: .log, bits: 8, signed: false, scaling: .block(512)))
/// let (first, second) = try codec.encode(first: m, second: v)
/// let restored = try codec.decodeFirst(first, second: second)
/// ```
public struct MomentCodec: Sendable {
  /// The first moment's layout, of the update domain.
  public let first: TensorLayout
  /// The second moment's codec.
  public let second: TensorCodec

  /// A codec for pairs of one shape.
  ///
  /// Throws `unsupportedScheme` for a first scheme outside the update domain or a second one that is signed, an import
  /// or of the update domain itself, else as `TensorLayout` does.
  public init(
    dtype: DType = .f32, secondDType: DType = .f32, shape: [UInt64], first: Scheme, second: Scheme
  ) throws(QCodecError) {
    guard first.domain == .update, second.isReferable else {
      throw QCodecError(.unsupportedScheme, "a pair is a first moment in the update domain and an unsigned second one")
    }
    try first.refuseEscapes()
    self.first = try TensorLayout(dtype: dtype, shape: shape, scheme: first)
    self.second = try TensorCodec(dtype: secondDType, shape: shape, scheme: second)
  }

  /// Encodes both moments; returns what encoding did to each.
  ///
  /// - Parameters:
  ///   - source: the first moment in C order, exactly its bytes.
  ///   - secondSource: the second moment, exactly its bytes.
  ///   - names: their names, for errors and as keys of stochastic rounding.
  ///   - firstStream: exactly `first.streamByteCount` bytes.
  ///   - secondStream: exactly `second.encodedByteCount` bytes.
  ///   - threads: threads to use; they do not change the result.
  ///
  /// Throws as `TensorCodec.encode` does, and `updateNotFinite` where a quotient, a scale or a decoded value overflows:
  /// such a first moment is to be stored in the value domain. O(elements).
  public func encode(
    first source: RawSpan, second secondSource: RawSpan, names: (first: String, second: String) = ("", ""),
    into firstStream: inout MutableRawSpan, _ secondStream: inout MutableRawSpan, threads: Int? = nil
  ) throws(QCodecError) -> (first: TensorStatistics, second: TensorStatistics) {
    let threads = threads ?? availableThreads()
    let secondStatistics = try second.encode(secondSource, name: names.second, into: &secondStream, threads: threads)
    guard source.byteCount == Int(first.sourceByteCount), firstStream.byteCount == first.streamByteCount else {
      throw QCodecError(.shapeMismatch, "a first moment of \(source.byteCount) bytes", tensor: names.first)
    }
    let statistics = try unsafe source.withUnsafeBytes { source throws(QCodecError) in
      try unsafe secondStream.withUnsafeBytes { second throws(QCodecError) in
        try unsafe firstStream.withUnsafeMutableBytes { stream throws(QCodecError) in
          try unsafe coder(second).encode(source, name: names.first, into: stream, threads: threads)
        }
      }
    }
    return (statistics, secondStatistics)
  }

  /// Decodes the first moment, or a range of indices of its first axis, from both streams; throws as `TensorCodec.decode`.
  public func decodeFirst(
    _ stream: RawSpan, second secondStream: RawSpan, rows: Range<UInt64>? = nil, into values: inout MutableRawSpan,
    threads: Int? = nil
  ) throws(QCodecError) {
    let elements = if let rows { try first.elements(ofRows: rows) } else { 0..<first.elementCount }
    let size = Int(elements.upperBound - elements.lowerBound) * first.elementSize
    guard stream.byteCount == first.streamByteCount, secondStream.byteCount == second.encodedByteCount,
      values.byteCount == size
    else { throw QCodecError(.shapeMismatch, "streams or room of another size than the pair's") }
    try unsafe stream.withUnsafeBytes { stream throws(QCodecError) in
      try unsafe secondStream.withUnsafeBytes { second throws(QCodecError) in
        try unsafe values.withUnsafeMutableBytes { values throws(QCodecError) in
          try unsafe coder(second).decode(
            elements, of: stream, into: values, threads: threads ?? availableThreads())
        }
      }
    }
  }

  private func coder(_ second: UnsafeRawBufferPointer) throws(QCodecError) -> StreamCoder {
    let divisors = try unsafe StreamCoder(layout: self.second.layout).divisors(of: second)
    return StreamCoder(layout: first, divisors: divisors)
  }
}

extension MomentCodec {
  /// Encodes f32 moments; an array convenience.
  public func encode(
    first: [Float], second: [Float], threads: Int? = nil
  ) throws(QCodecError) -> (first: [UInt8], second: [UInt8]) {
    var firstStream = [UInt8](repeating: 0, count: self.first.streamByteCount)
    var secondStream = [UInt8](repeating: 0, count: self.second.encodedByteCount)
    var firstSpan = firstStream.mutableSpan
    var firstBytes = unsafe firstSpan.mutableBytes
    var secondSpan = secondStream.mutableSpan
    var secondBytes = unsafe secondSpan.mutableBytes
    _ = try unsafe encode(
      first: first.span.bytes, second: second.span.bytes, into: &firstBytes, &secondBytes, threads: threads)
    return (firstStream, secondStream)
  }

  /// Decodes an f32 first moment; an array convenience.
  public func decodeFirst(_ stream: [UInt8], second: [UInt8], threads: Int? = nil) throws(QCodecError) -> [Float] {
    guard first.dtype == .f32 else {
      throw QCodecError(.invalidArgument, "an array of Float for a \(first.dtype.name) tensor")
    }
    var values = [Float](repeating: 0, count: Int(first.elementCount))
    var target = values.mutableSpan
    var bytes = unsafe target.mutableBytes
    try unsafe decodeFirst(stream.span.bytes, second: second.span.bytes, into: &bytes, threads: threads)
    return values
  }
}

extension Scheme {
  /// Whether a first moment in the update domain may refer to a tensor of this scheme: quantized in the value domain
  /// under `log` or an unsigned map that is no import, so that its values are not negative.
  public var isReferable: Bool { domain == .value && !signed && customTable?.isImport != true }

  /// Whether tensors of this scheme have a relative guarantee: under `log`, and in the update domain.
  public var hasRelativeBound: Bool { (map == .log || domain == .update) && rounding != .unknown }
}
