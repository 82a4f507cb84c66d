import QCodec

/// A quantized tensor that lies in memory as a stream, decoded by range: what an optimizer keeps.
///
/// Stored under the stream's own scheme it is stored as it is, for encoding gives what was decoded the codes and scales that
/// it had (Spec/Stream.md); the file says what the scheme guarantees.
///
/// Safe only as far as the streams are kept, unchanged, for as long as the source is used, which is why making one is not.
@safe public struct StreamSource: TensorSource, @unchecked Sendable {
  private let layout: TensorLayout
  private let stream: UnsafeRawBufferPointer
  private let coder: StreamCoder

  /// The tensor of a stream; in the update domain with its second moment's, both of one shape.
  ///
  /// Throws `shapeMismatch` for streams of another size than their layouts', `unsupportedScheme` for a first moment of the
  /// update domain without a second one.
  @unsafe public init(
    _ layout: TensorLayout, _ stream: UnsafeRawBufferPointer,
    second: (layout: TensorLayout, stream: UnsafeRawBufferPointer)? = nil
  ) throws(QCodecError) {
    guard stream.count == layout.streamByteCount else {
      throw QCodecError(.shapeMismatch, "a stream of \(stream.count) bytes, not \(layout.streamByteCount)")
    }
    self.layout = layout
    unsafe self.stream = stream
    guard layout.scheme.domain == .update else {
      coder = StreamCoder(layout: layout)
      return
    }
    guard let second = unsafe second, unsafe second.layout.elementCount == layout.elementCount else {
      throw QCodecError(.unsupportedScheme, "a first moment of the update domain is read with its second moment")
    }
    guard unsafe second.stream.count == second.layout.streamByteCount else {
      throw unsafe QCodecError(
        .shapeMismatch, "a stream of \(second.stream.count) bytes, not \(second.layout.streamByteCount)")
    }
    coder = StreamCoder(
      layout: layout, divisors: try unsafe StreamCoder(layout: second.layout).divisors(of: second.stream))
  }

  /// Bytes of the decoded tensor.
  public var byteCount: UInt64 { layout.sourceByteCount }

  /// Decodes from `offset` on, whole elements; throws as `TensorCodec.decode`.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    let size = UInt64(layout.dtype.bitWidth / 8)
    let (start, end) = (offset, offset + UInt64(target.count))
    guard start % size == 0, end % size == 0, end <= byteCount else {
      throw QCodecError(.invalidArgument, "bytes \(start) to \(end) of a tensor of \(byteCount)")
    }
    try unsafe coder.decode(start / size..<end / size, of: stream, into: target, threads: 1)
  }
}
