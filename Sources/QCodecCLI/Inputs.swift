import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Opening what the command line names.
enum Inputs {
  /// The file at a path; `-` spools standard input to an unlinked temporary file first.
  static func file(_ path: String) throws -> InputFile {
    try concerning(path) { path == "-" ? try spooledInput() : try InputFile(path: path) }
  }

  /// A document of tensors, by its content.
  static func document(_ path: String) throws -> InputDocument {
    let file = try file(path)
    return try concerning(path) { try openInput(file: file, path: path == "-" ? "stdin" : path) }
  }

  /// A checkpoint; anything else is refused by name.
  static func checkpoint(_ path: String) throws -> CheckpointReader {
    let file = try file(path)
    return try concerning(path) { try CheckpointReader(file: file) }
  }

  private static func spooledInput() throws -> InputFile {
    let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var name = Array("\(folder)/qcodec-XXXXXX".utf8CString)
    let descriptor = unsafe name.withUnsafeMutableBufferPointer { unsafe mkstemp($0.baseAddress.unsafelyUnwrapped) }
    guard descriptor >= 0 else { throw Failure("cannot create a temporary file in \(folder)", status: .system) }
    unsafe name.withUnsafeBufferPointer { _ = unsafe $0.baseAddress.map { unsafe unlink($0) } }
    let progress = Progress(total: nil)
    defer { progress.finish() }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(STDIN_FILENO, $0.baseAddress, $0.count) }
      if count == 0 { break }
      if count < 0, errno == EINTR { continue }
      guard count > 0, writeAll(buffer[..<count], to: descriptor) else {
        close(descriptor)
        throw Failure("cannot spool standard input", file: "-", status: .system)
      }
      progress.advance(UInt64(count))
    }
    return try InputFile(descriptor: descriptor)
  }

  private static func writeAll(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) -> Bool {
    var rest = bytes
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// Refuses an output that is one of the inputs.
  static func refuseOverwriting(_ output: String, inputs: Set<FileIdentity>) throws {
    guard output != "-", let identity = FileIdentity(path: output), inputs.contains(identity) else { return }
    throw Failure(
      QCodecError(.wouldOverwriteInput, "this is an input; choose another output"), file: output)
  }

  /// Refuses to fill a terminal with bytes.
  static func refuseTerminal(_ output: String) throws {
    guard output == "-", Terminal.outputIsTerminal else { return }
    throw Failure("standard output is a terminal; redirect it or name a file", status: .usage)
  }
}
