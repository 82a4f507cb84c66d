extension TensorCodec {
  /// Encodes an f32 tensor; an array convenience of `encode(_:name:into:threads:)`.
  public func encode(
    _ values: [Float], name: String = "", threads: Int? = nil
  ) throws(QCodecError) -> (stream: [UInt8], statistics: TensorStatistics) {
    guard layout.dtype == .f32 else {
      throw QCodecError(.invalidArgument, "an array of Float for a \(layout.dtype.name) tensor", tensor: name)
    }
    var stream = [UInt8](repeating: 0, count: encodedByteCount)
    var target = stream.mutableSpan
    var bytes = unsafe target.mutableBytes
    let statistics = try unsafe encode(values.span.bytes, name: name, into: &bytes, threads: threads)
    return (stream, statistics)
  }

  /// Decodes an f32 tensor; an array convenience of `decode(_:into:threads:)`.
  public func decode(_ stream: [UInt8], threads: Int? = nil) throws(QCodecError) -> [Float] {
    guard layout.dtype == .f32 else {
      throw QCodecError(.invalidArgument, "an array of Float for a \(layout.dtype.name) tensor")
    }
    var values = [Float](repeating: 0, count: Int(layout.elementCount))
    var target = values.mutableSpan
    var bytes = unsafe target.mutableBytes
    try unsafe decode(stream.span.bytes, into: &bytes, threads: threads)
    return values
  }
}
