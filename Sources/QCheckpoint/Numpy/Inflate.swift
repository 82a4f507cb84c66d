import CZlib
import QCodec

/// CRC-32 as zip archives have it, fed in pieces.
struct CRC32 {
  private(set) var value: UInt32 = 0

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    var rest = unsafe bytes
    // zlib counts in 32 bits.
    while rest.count > 0 {
      let piece = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
      let start = unsafe piece.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
      unsafe value = UInt32(truncatingIfNeeded: crc32(UInt(value), start, UInt32(piece.count)))
      unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
    }
  }
}

/// Raw deflate data, inflated from a source piece by piece.
enum Inflate {
  /// Deflate cannot do better than this many bytes out of one.
  static let maximumRatio: UInt64 = 1032
  private static let pieceSize = 1 << 18

  /// Inflates the first `count` bytes of the data that `source` holds.
  ///
  /// - Parameter whole: whether these are all: then input and output must end together.
  ///
  /// Throws `invalidNumpy` for what is no deflate data or has another length. The caller has checked that `source` can
  /// hold so much.
  static func bytes(
    from source: any TensorSource, count: Int, whole: Bool
  ) throws(QCodecError) -> [UInt8] {
    var stream = unsafe z_stream()
    // Negative window bits: deflate data without a zlib header.
    let status = unsafe inflateInit2_(&stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { throw QCodecError(.io, "zlib cannot start (status \(status))") }
    defer { unsafe inflateEnd(&stream) }
    // Grows with what is really there, not with what the archive states.
    var output: [UInt8] = []
    var input = [UInt8](repeating: 0, count: Int(min(source.byteCount, UInt64(pieceSize))))
    var piece = [UInt8](repeating: 0, count: pieceSize)
    var consumed: UInt64 = 0
    var isDone = false
    // Beyond the end by one piece, so that data which is too long shows.
    while !isDone, whole ? output.count <= count : output.count < count {
      let available = Int(min(source.byteCount - consumed, UInt64(input.count)))
      try unsafe input.withMutableBytes { bytes throws(QCodecError) in
        try unsafe source.read(at: consumed, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<available]))
      }
      let step = try unsafe step(&stream, &input, available, into: &piece)
      consumed += UInt64(step.consumed)
      output += piece[..<step.produced]
      isDone = step.isDone
    }
    guard whole ? isDone && output.count == count && consumed == source.byteCount : output.count >= count else {
      throw QCodecError(.invalidNumpy, "a deflated member has not the length that the archive states")
    }
    output.removeLast(output.count - count)
    return output
  }

  private static func step(
    _ stream: inout z_stream, _ input: inout [UInt8], _ available: Int, into piece: inout [UInt8]
  ) throws(QCodecError) -> (consumed: Int, produced: Int, isDone: Bool) {
    try unsafe input.withUnsafeMutableBufferPointer { source throws(QCodecError) in
      try unsafe piece.withUnsafeMutableBufferPointer { target throws(QCodecError) in
        unsafe stream.next_in = source.baseAddress
        unsafe stream.avail_in = UInt32(available)
        unsafe stream.next_out = target.baseAddress
        unsafe stream.avail_out = UInt32(target.count)
        let status = unsafe inflate(&stream, Z_NO_FLUSH)
        guard status == Z_OK || status == Z_STREAM_END else {
          // Z_BUF_ERROR among them: no progress is possible, for the data end too early.
          throw QCodecError(.invalidNumpy, "a deflated member is corrupt (zlib status \(status))")
        }
        return unsafe (available - Int(stream.avail_in), target.count - Int(stream.avail_out), status == Z_STREAM_END)
      }
    }
  }
}
