import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Files that are written beside their target until they are complete.
///
/// Their names tell the target, and whoever writes one holds its lock, which the system takes away with the process. A name
/// whose lock is free is what a killed writer left behind; the next one to the same target removes it. Where the
/// file system has no locks, nothing is ever removed.
struct TemporaryFile {
  private static let suffix = ".qcodec-partial"
  private static let digits = 16

  let descriptor: Int32
  let path: String

  /// Creates and locks a file beside the target `folder` + `name`, as any new file, and removes what killed writers to
  /// that target left behind: on a full disk the room may be needed. `folder` ends in a slash or is empty. Throws `io`.
  static func create(
    besides folder: String, _ name: String, system: OutputSystem
  ) throws(QCodecError) -> TemporaryFile {
    let prefix = prefix(of: name)
    removeLeftovers(in: folder, prefix, system: system)
    while true {
      if let file = try created(folder + prefix, system: system) { return file }
    }
  }

  /// A new file with its lock; nil where the name was taken, or the file was taken for a leftover before it was locked.
  private static func created(_ prefix: String, system: OutputSystem) throws(QCodecError) -> TemporaryFile? {
    let number = String(UInt64.random(in: 0...UInt64.max), radix: 16)
    let path = prefix + String(repeating: "0", count: digits - number.utf8.count) + number + suffix
    // Mode 0666 less the umask, as any new file.
    let descriptor = retryingInterrupts {
      system.open(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode: 0o666)
    }
    guard descriptor >= 0 else {
      if errno == EEXIST { return nil }
      throw systemError("create")
    }
    let isOthers = lock(descriptor, system: system) == .others
    var status = stat()
    guard !isOthers, unsafe lstat(path, &status) == 0 || errno != ENOENT else {
      _ = system.close(descriptor)
      return nil
    }
    return TemporaryFile(descriptor: descriptor, path: path)
  }

  private enum Lock { case own, others, none }

  private static func lock(_ descriptor: Int32, system: OutputSystem) -> Lock {
    if retryingInterrupts({ system.lock(descriptor) }) == 0 { return .own }
    return errno == EWOULDBLOCK ? .others : .none
  }

  // MARK: Leftovers

  private static func removeLeftovers(in folder: String, _ prefix: String, system: OutputSystem) {
    // A folder that may be written to but not read keeps them.
    guard let stream = unsafe opendir(folder.isEmpty ? "." : folder) else { return }
    defer { unsafe closedir(stream) }
    while let entry = unsafe readdir(stream) {
      // Folders may hold very many files; those of ours are hidden.
      guard unsafe UInt8(truncatingIfNeeded: entry.pointee.d_name.0) == UInt8(ascii: ".") else { continue }
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { place in
        unsafe place.withMemoryRebound(to: CChar.self, capacity: 1) { unsafe String(cString: $0) }
      }
      if isTemporary(name, prefix) { removeIfLeft(folder + name, system: system) }
    }
  }

  private static func removeIfLeft(_ path: String, system: OutputSystem) {
    // For writing, without which network file systems give no lock.
    let flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW
    let descriptor = retryingInterrupts { system.open(path, flags: flags) }
    guard descriptor >= 0 else { return }
    defer { _ = system.close(descriptor) }
    guard lock(descriptor, system: system) == .own else { return }
    // Its writer may have put it in place and gone since it was opened: then the name means nothing any more.
    var (opened, named) = (stat(), stat())
    guard unsafe fstat(descriptor, &opened) == 0, unsafe lstat(path, &named) == 0,
      opened.st_dev == named.st_dev, opened.st_ino == named.st_ino, named.st_mode & S_IFMT == S_IFREG
    else { return }
    _ = system.remove(path)
  }

  /// What names of temporaries of a target begin with: `.NAME.`, or for a long name its beginning and digest, since systems
  /// limit names to 255 bytes or less.
  private static func prefix(of name: String) -> String {
    guard name.utf8.count > 64 else { return ".\(name)." }
    var stem = String.UnicodeScalarView()
    var room = 40
    for scalar in name.unicodeScalars {
      room -= UTF8.width(scalar)
      if room < 0 { break }
      stem.append(scalar)
    }
    return ".\(String(stem))~\(String(xxh3(Array(name.utf8)), radix: 16))."
  }

  private static func isTemporary(_ name: String, _ prefix: String) -> Bool {
    // By bytes: equal characters of other bytes are another file.
    guard name.utf8.starts(with: prefix.utf8), name.utf8.reversed().starts(with: suffix.utf8.reversed()) else {
      return false
    }
    let number = name.utf8.dropFirst(prefix.utf8.count).dropLast(suffix.utf8.count)
    return number.count == digits && number.allSatisfy { "0123456789abcdef".utf8.contains($0) }
  }
}
