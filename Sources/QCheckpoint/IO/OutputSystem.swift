#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The calls of the system by which a file is written and put in place, as the system has them: what fails is below 0, and
/// `errno` says why. Tests watch them, and let them fail.
class OutputSystem {
  init() {}

  func open(_ path: String, flags: Int32, mode: mode_t = 0) -> Int32 {
    #if canImport(Glibc)
      unsafe Glibc.open(path, flags, mode)
    #elseif canImport(Musl)
      unsafe Musl.open(path, flags, mode)
    #else
      unsafe Darwin.open(path, flags, mode)
    #endif
  }

  func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    #if canImport(Glibc)
      unsafe Glibc.write(descriptor, bytes, count)
    #elseif canImport(Musl)
      unsafe Musl.write(descriptor, bytes, count)
    #else
      unsafe Darwin.write(descriptor, bytes, count)
    #endif
  }

  func truncate(_ descriptor: Int32, to length: UInt64) -> Int32 { ftruncate(descriptor, off_t(length)) }

  /// Returns when the file, or the folder, is on the disk.
  func synchronise(_ descriptor: Int32) -> Int32 {
    #if canImport(Darwin)
      // fsync leaves the bytes to the drive there. Not every file system knows the other call.
      let status = fcntl(descriptor, F_FULLFSYNC)
      if status == 0 || errno == EINTR { return status }
    #endif
    return fsync(descriptor)
  }

  func rename(_ old: String, to new: String) -> Int32 {
    #if canImport(Glibc)
      unsafe Glibc.rename(old, new)
    #elseif canImport(Musl)
      unsafe Musl.rename(old, new)
    #else
      unsafe Darwin.rename(old, new)
    #endif
  }

  /// Takes the lock of an open file without waiting for it; it goes with the last descriptor of the opened file.
  func lock(_ descriptor: Int32) -> Int32 { flock(descriptor, LOCK_EX | LOCK_NB) }

  func remove(_ path: String) -> Int32 { unsafe unlink(path) }

  func close(_ descriptor: Int32) -> Int32 {
    #if canImport(Glibc)
      Glibc.close(descriptor)
    #elseif canImport(Musl)
      Musl.close(descriptor)
    #else
      Darwin.close(descriptor)
    #endif
  }
}
