import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

#if canImport(Darwin)
  private let seekData = SEEK_DATA
#else
  /// SEEK_DATA, which the headers of Linux show to those alone who ask for all that GNU adds.
  private let seekData: Int32 = 3
#endif

/// A file opened for reading at any offset, from any thread; closed with the object.
public final class InputFile: Sendable {
  private let descriptor: Int32
  /// The file's length when it was opened, in bytes.
  public let byteCount: UInt64
  /// Device and inode, by which two paths to one file are recognised.
  public let identity: FileIdentity

  /// Opens a file; throws `io` where the system refuses and for what cannot be read at an offset (folders, pipes).
  public convenience init(path: String) throws(QCodecError) {
    // Without a wait for the other end of what turns out to be a pipe.
    let descriptor = retryingInterrupts { unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else { throw systemError("open") }
    try self.init(descriptor: descriptor)
  }

  /// Takes over an open descriptor; throws `io` for what cannot be read at an offset.
  public init(descriptor: Int32) throws(QCodecError) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      let error = systemError("examine")
      close(descriptor)
      throw error
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw QCodecError(.io, "not a regular file")
    }
    self.descriptor = descriptor
    byteCount = UInt64(status.st_size)
    identity = FileIdentity(status)
  }

  deinit { close(descriptor) }

  /// Fills `target` from `offset` on; throws `truncated` where the file ends before, `io` where the system fails,
  /// `cancelled`.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    guard offset <= byteCount, UInt64(target.count) <= byteCount - offset else {
      throw QCodecError(.truncated, "the file ends at byte \(byteCount)", offset: offset)
    }
    var done = 0
    while done < target.count {
      // A signal ends the wait for a slow file system, and whoever sent it may have cancelled the call.
      try Cancellation.check()
      let count = unsafe pread(
        descriptor, target.baseAddress.unsafelyUnwrapped + done, target.count - done, off_t(offset) + off_t(done))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw systemError("read") }
      guard count > 0 else {
        throw QCodecError(.truncated, "the file became shorter while it was read", offset: offset + UInt64(done))
      }
      done += count
    }
  }

  /// The first offset from `offset` on that a sparse file has room for; `byteCount` where there is none, `offset` where
  /// the system cannot tell.
  func nextData(from offset: UInt64) -> UInt64 {
    let found = lseek(descriptor, off_t(clamping: offset), seekData)
    if found >= 0 { return UInt64(found) }
    return errno == ENXIO ? byteCount : offset
  }

  /// The bytes of a range; throws as `read(at:into:)`, and `io` where there is no memory for them.
  public func bytes(at offset: UInt64, count: Int) throws(QCodecError) -> [UInt8] {
    guard offset <= byteCount, UInt64(count) <= byteCount - offset else {
      throw QCodecError(.truncated, "the file ends at byte \(byteCount)", offset: offset)
    }
    return try unsafe [UInt8](count: count) { buffer throws(QCodecError) in try unsafe read(at: offset, into: buffer) }
  }
}

/// What names a file whatever path leads to it.
public struct FileIdentity: Sendable, Hashable {
  private let device: UInt64
  private let inode: UInt64

  init(_ status: stat) {
    device = UInt64(truncatingIfNeeded: status.st_dev)
    inode = UInt64(status.st_ino)
  }

  /// The identity of what a path leads to, or nil where there is nothing.
  public init?(path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    self.init(status)
  }
}
