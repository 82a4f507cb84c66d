import CLZ4
import CZstd
import QCodec

/// The lossless stage that a chunk went through; the raw value is the code that files store.
public enum Compression: UInt8, Sendable, CaseIterable {
  case none = 0
  /// An LZ4 block (liblz4, its default level).
  case lz4 = 1
  /// A zstd frame (libzstd). Level 1 does as well as 3 on codes, for the gain is all entropy coding.
  case zstd = 2

  /// The name in options and JSON.
  public var name: String {
    switch self {
    case .none: "none"
    case .lz4: "lz4"
    case .zstd: "zstd"
    }
  }

  /// The stage with a given name, or nil.
  public init?(name: String) {
    guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = match
  }
}

extension Compression {
  /// What a frame of RFC 8878 begins with.
  private static let zstdMagic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]
  /// Content_Checksum_flag of the byte that follows it.
  private static let zstdChecksumFlag: UInt8 = 1 << 2

  /// A gain under 1/64 is not worth the time that reading it takes.
  static func isWorthwhile(stored: Int, raw: Int) -> Bool { stored < raw && 64 * (raw - stored) >= raw }

  /// The most bytes that `compress` writes for a number of bytes.
  func bound(_ count: Int) -> Int {
    switch self {
    case .none: 0
    case .lz4: Int(LZ4_compressBound(Int32(count)))
    case .zstd: ZSTD_compressBound(count)
    }
  }

  /// Compresses into `target` of `bound` bytes; returns how many were written, or nil where the gain is less than 1/64
  /// or there is nothing to do.
  func compress(
    _ source: UnsafeRawBufferPointer, level: Int32, into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) -> Int? {
    guard self != .none, source.count > 0 else { return nil }
    var written: Int
    if self == .lz4 {
      written = unsafe Int(
        LZ4_compress_default(
          source.baseAddress?.assumingMemoryBound(to: CChar.self),
          target.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(source.count), Int32(target.count)))
      guard written > 0 else { throw QCodecError(.io, "cannot compress a chunk: LZ4 failed") }
    } else {
      written = try unsafe Self.frame(source, level: level, into: target)
      guard ZSTD_isError(written) == 0 else {
        throw QCodecError(.io, "cannot compress a chunk: \(unsafe String(cString: ZSTD_getErrorName(written)))")
      }
    }
    return Self.isWorthwhile(stored: written, raw: source.count) ? written : nil
  }

  /// Writes one zstd frame that ends with the checksum of its content; the bytes written, or an error of libzstd's.
  private static func frame(
    _ source: UnsafeRawBufferPointer, level: Int32, into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) -> Int {
    // Without memory for a context libzstd would go on with none.
    guard let context = unsafe ZSTD_createCCtx() else { throw QCodecError(.io, "cannot compress a chunk: no memory") }
    defer { unsafe ZSTD_freeCCtx(context) }
    for (parameter, value) in [(ZSTD_c_compressionLevel, level), (ZSTD_c_checksumFlag, 1)] {
      let status = unsafe ZSTD_CCtx_setParameter(context, parameter, value)
      guard ZSTD_isError(status) == 0 else { return status }
    }
    return unsafe ZSTD_compress2(context, target.baseAddress, target.count, source.baseAddress, source.count)
  }

  /// Undoes the stage into exactly `target`; throws `decompressionFailed` for anything else than a whole, exact fit.
  func decompress(
    _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) throws(QCodecError) {
    var written = -1
    switch self {
    case .none:
      if source.count == target.count {
        unsafe target.copyMemory(from: source)
        written = target.count
      }
    case .lz4:
      written = unsafe Int(
        LZ4_decompress_safe(
          source.baseAddress?.assumingMemoryBound(to: CChar.self),
          target.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(source.count), Int32(target.count)))
    case .zstd:
      // One frame of RFC 8878 and nothing else: libzstd would take several, skippable ones that hold anything, and frames
      // of its versions before 0.8 where it is built to, as Debian's is. Without a checksum of the content a malformed frame
      // can be one thing to one version of libzstd and another to the next.
      if unsafe source.starts(with: Self.zstdMagic), source.count > 4, unsafe source[4] & Self.zstdChecksumFlag != 0,
        unsafe ZSTD_findFrameCompressedSize(source.baseAddress, source.count) == source.count
      {
        let count = unsafe ZSTD_decompress(target.baseAddress, target.count, source.baseAddress, source.count)
        written = ZSTD_isError(count) != 0 ? -1 : count
      }
    }
    guard written == target.count else {
      throw QCodecError(.decompressionFailed, "a chunk does not decompress to its \(target.count) bytes by \(name)")
    }
  }
}

extension Compression {
  /// Bytes that a chunk takes as the writer stores it, at a level of zstd: after the stage, or plain where that gains too
  /// little. A lossless chunk, of elements of more than a byte, is cut into byte planes first.
  package func storedByteCount(
    _ payload: [UInt8], elementSize: Int = 1, level: Int32 = 1
  ) throws(QCodecError) -> Int {
    guard self != .none else { return payload.count }
    var planes = [UInt8](repeating: 0, count: elementSize > 1 ? payload.count : 0)
    if elementSize > 1 {
      unsafe payload.withBytes { source in
        unsafe planes.withMutableBytes { target in unsafe BytePlanes.split(source, planes: elementSize, into: target) }
      }
    }
    let source = elementSize > 1 ? planes : payload
    var target = [UInt8](repeating: 0, count: bound(payload.count))
    let written = try unsafe source.withBytes { source throws(QCodecError) in
      try unsafe target.withMutableBytes { target throws(QCodecError) in
        try unsafe compress(source, level: level, into: target)
      }
    }
    return written ?? payload.count
  }
}
