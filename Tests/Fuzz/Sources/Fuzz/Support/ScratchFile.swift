import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file without a name, used again and again, for readers and writers that take files alone.
struct ScratchFile {
  /// What holds the input.
  static let input = ScratchFile()
  /// What is written.
  static let output = ScratchFile()

  let descriptor: Int32

  private init() {
    var name = Array("/tmp/qcodec-fuzz-XXXXXX".utf8CString)
    descriptor = mkstemp(&name)
    require(descriptor >= 0, "no scratch file")
    unlink(name)
  }

  /// The file with exactly these bytes; what was made of it before is not to be used any more.
  func holding(_ bytes: [UInt8]) -> InputFile {
    empty()
    let written = pwrite(descriptor, bytes, bytes.count, 0)
    require(written == bytes.count, "the scratch file cannot be written")
    return opened()
  }

  /// Leaves no bytes; the next are written at the beginning.
  func empty() {
    require(ftruncate(descriptor, 0) == 0 && lseek(descriptor, 0, SEEK_SET) == 0, "the scratch file cannot be emptied")
  }

  /// The file as it is now.
  func opened() -> InputFile {
    guard let file = outcome({ () throws(QCodecError) in try InputFile(descriptor: dup(descriptor)) }).value else {
      fatalError("the scratch file cannot be opened")
    }
    return file
  }
}
