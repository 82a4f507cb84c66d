import QCodec

/// A source that tells how many bytes were read of it.
struct MeteredSource: TensorSource {
  let source: any TensorSource
  /// Called after each read, from the thread that reads.
  let meter: @Sendable (UInt64) -> Void

  var byteCount: UInt64 { source.byteCount }

  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    try unsafe source.read(at: offset, into: target)
    meter(UInt64(target.count))
  }

  func nextData(from offset: UInt64) -> UInt64 { source.nextData(from: offset) }

  func withMemory(
    at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) -> Bool {
    let isInMemory = try unsafe source.withMemory(at: offset, count: count, body)
    if isInMemory { meter(UInt64(count)) }
    return isInMemory
  }
}
