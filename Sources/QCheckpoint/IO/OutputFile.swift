import CQCodecKernels
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file written strictly forward that appears under its name only when it is complete.
///
/// Bytes go to a temporary file in the same folder; `commit` flushes it to the disk, renames it and flushes the folder,
/// so that a crash, a full disk or a kill at any moment leaves a previous file as it was. What a kill leaves behind the next
/// writer to the same path removes (`TemporaryFile`). Pipes and devices are written to directly. Writing is stopped by the
/// caller's `Cancellation`.
@safe package final class OutputFile {
  private static let bufferSize = 1 << 20
  /// More are written by several calls, between which writing can be stopped.
  private static let largestWrite = 8 << 20
  /// Bytes after which the system is asked to begin writing to the disk, so that little is left for the end.
  private static let writebackStep: UInt64 = 8 << 20
  /// Space that is reserved at a time; what is left over is given back.
  private static let reservation: UInt64 = 64 << 20

  /// Takes the next bytes of the file, in order.
  package typealias Write = (UnsafeRawBufferPointer) throws(QCodecError) -> Void

  private var descriptor: Int32
  /// What takes the bytes in the place of a descriptor.
  private var function: Write?
  private let path: String?
  private let temporary: String?
  private let system: OutputSystem
  /// The process whose file it is: a child that it forks shares the descriptor, and is to leave the file alone.
  private let process = getpid()
  private var buffer: [UInt8] = []
  /// Bytes written so far.
  package private(set) var position: UInt64 = 0
  /// Bytes handed to the system, those of them that it was asked to write to the disk, and the end of what is reserved.
  private var handedOver: UInt64 = 0
  private var writtenBack: UInt64 = 0
  private var reserved: UInt64 = 0

  /// Prepares to replace the file at `path`, through a symbolic link if it is one, even to nothing; throws `io`.
  package convenience init(path: String) throws(QCodecError) { try self.init(path: path, system: OutputSystem()) }

  init(path: String, system: OutputSystem) throws(QCodecError) {
    self.system = system
    // Nothing could be put in its place in the end.
    if path.isEmpty {
      errno = ENOENT
      throw systemError("create")
    }
    var status = stat()
    let exists = unsafe stat(path, &status) == 0
    if exists, status.st_mode & S_IFMT != S_IFREG {
      descriptor = retryingInterrupts { system.open(path, flags: O_WRONLY | O_CLOEXEC) }
      (self.path, temporary) = (nil, nil)
      guard descriptor >= 0 else { throw systemError("create") }
    } else {
      let target = exists ? Self.resolved(path) : try Self.followed(path)
      let (folder, name) = Self.split(target)
      let file = try TemporaryFile.create(besides: folder, name, system: system)
      (descriptor, self.path, temporary) = (file.descriptor, target, file.path)
    }
    buffer.reserveCapacity(Self.bufferSize)
  }

  /// Writes to an open descriptor, a pipe for instance, which is neither synchronised nor closed.
  package init(descriptor: Int32) throws(QCodecError) {
    system = OutputSystem()
    self.descriptor = dup(descriptor)
    (path, temporary) = (nil, nil)
    guard self.descriptor >= 0 else { throw systemError("use the output") }
    buffer.reserveCapacity(Self.bufferSize)
  }

  /// Writes to a function, on the thread that adds tensors; what it throws is what `write` and `commit` throw.
  package init(function: @escaping Write) {
    system = OutputSystem()
    descriptor = -1
    unsafe self.function = function
    (path, temporary) = (nil, nil)
    buffer.reserveCapacity(Self.bufferSize)
  }

  /// Whether bytes are still taken.
  private var isOpen: Bool { unsafe descriptor >= 0 || function != nil }

  /// The file that is written to until all is complete; nil for what is written to directly.
  package var temporaryPath: String? { temporary }

  deinit { abort() }

  /// Appends bytes; throws `io`, after which only `abort` makes sense, and `writerClosed` once closed.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(QCodecError) {
    guard isOpen else { throw QCodecError(.writerClosed, "the file is already complete") }
    position += UInt64(bytes.count)
    if buffer.count + bytes.count > Self.bufferSize { try flush() }
    if bytes.count >= Self.bufferSize {
      try unsafe writeAll(bytes)
    } else {
      unsafe buffer.append(contentsOf: bytes)
    }
  }

  /// Appends bytes; as `write(_:)`.
  package func write(_ bytes: [UInt8]) throws(QCodecError) {
    try unsafe bytes.withBytes { buffer throws(QCodecError) in try unsafe write(buffer) }
  }

  /// Puts the complete file in place; throws `io` and `cancelled`, and unless the message says that it is in place the
  /// previous stays.
  package func commit() throws(QCodecError) {
    guard isOpen else { throw QCodecError(.writerClosed, "the file is already complete") }
    try flush()
    if unsafe function != nil {
      unsafe function = nil
      return
    }
    guard let path, let temporary else { return close() }
    try checkProcess()
    // What was reserved beyond the end is no part of the file, but would keep its space.
    guard reserved <= position || retryingInterrupts({ system.truncate(descriptor, to: position) }) == 0 else {
      throw systemError("write")
    }
    guard retryingInterrupts({ system.synchronise(descriptor) }) == 0 else { throw systemError("write to the disk") }
    // The last moment: from here on the new file is there.
    try Cancellation.check()
    guard system.rename(temporary, to: path) == 0 || isInPlace(path) else { throw systemError("rename to '\(path)'") }
    // Only now, for the lock is what keeps others from taking it for a leftover. All of it is on the disk: a failure to
    // close says nothing about the file.
    close()
    try Self.synchronise(folder: Self.split(path).folder, system: system)
  }

  /// Gives the file up: the temporary file is removed, a previous file stays. Does nothing after `commit`.
  package func abort() {
    unsafe function = nil
    guard descriptor >= 0 else { return }
    // While it is locked, lest the name be another's by then.
    if let temporary, getpid() == process { _ = system.remove(temporary) }
    close()
  }

  // MARK: The system

  /// Whether the file is there though the system says that it cannot be renamed, as when a server's answer is lost.
  private func isInPlace(_ path: String) -> Bool {
    let number = errno
    defer { errno = number }
    var (own, there) = (stat(), stat())
    return unsafe fstat(descriptor, &own) == 0 && lstat(path, &there) == 0
      && own.st_dev == there.st_dev && own.st_ino == there.st_ino
  }

  private func checkProcess() throws(QCodecError) {
    guard temporary == nil || getpid() == process else {
      throw QCodecError(.writerClosed, "a forked process cannot go on with its parent's file")
    }
  }

  private func close() {
    _ = system.close(descriptor)
    descriptor = -1
  }

  private func flush() throws(QCodecError) {
    try unsafe buffer.withBytes { bytes throws(QCodecError) in try unsafe writeAll(bytes) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func writeAll(_ bytes: UnsafeRawBufferPointer) throws(QCodecError) {
    if let function = unsafe function {
      try unsafe function(bytes)
      return
    }
    try checkProcess()
    var done = 0
    while done < bytes.count {
      // A signal ends the wait for a slow disk or a full pipe, and whoever sent it may have cancelled the call.
      try Cancellation.check()
      let count = unsafe system.write(
        descriptor, bytes.baseAddress.unsafelyUnwrapped + done, min(bytes.count - done, Self.largestWrite))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw systemError("write") }
      done += count
    }
    handedOver += UInt64(bytes.count)
    if temporary != nil { helpDisk() }
  }

  /// Reserves space ahead and starts the disk on what is there. A full disk shows when it is written to.
  private func helpDisk() {
    guard handedOver - writtenBack >= Self.writebackStep else { return }
    if handedOver + Self.writebackStep > reserved {
      let start = max(reserved, handedOver)
      qcodec_reserve(descriptor, start, Self.reservation)
      reserved = start + Self.reservation
    }
    qcodec_begin_writeback(descriptor, writtenBack, handedOver - writtenBack)
    writtenBack = handedOver
  }

  private static func split(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return ("", path) }
    return (String(path[...slash]), String(path[path.index(after: slash)...]))
  }

  private static func resolved(_ path: String) -> String {
    guard let resolved = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }

  /// Where a path leads that leads to nothing: the end of its symbolic links, if it is one.
  private static func followed(_ path: String) throws(QCodecError) -> String {
    var path = path
    // As many as systems follow.
    for _ in 0..<40 {
      var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
      let count = unsafe readlink(path, &buffer, buffer.count)
      guard count > 0 else { return path }
      let link = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      path = link.hasPrefix("/") ? link : split(path).folder + link
    }
    errno = ELOOP
    throw systemError("create")
  }

  /// Flushes a folder in which a file was put in place.
  static func synchronise(folder: String, system: OutputSystem = OutputSystem()) throws(QCodecError) {
    let descriptor = retryingInterrupts { system.open(folder.isEmpty ? "." : folder, flags: O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw systemError("open the folder, though the file is in place") }
    defer { _ = system.close(descriptor) }
    // Some file systems cannot synchronise a folder; the rename has happened all the same.
    guard retryingInterrupts({ system.synchronise(descriptor) }) == 0 || errno == EINVAL || errno == ENOTSUP else {
      throw systemError("write the folder to the disk, though the file is in place")
    }
  }
}
