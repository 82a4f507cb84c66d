import ArgumentParser
import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `qcodec decode`: a checkpoint in, safetensors out.
struct DecodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode", abstract: "Restore tensors from a checkpoint into a safetensors file.")

  @Argument(help: "The checkpoint; '-' is standard input.")
  var file: String

  @Option(name: .shortAndLong, help: "The safetensors file to write; '-' is standard output.")
  var output: String

  @Option(name: .long, help: ArgumentHelp("Only tensors whose names match; may be repeated.", valueName: "glob"))
  var tensor: [String] = []

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  /// Bytes decoded at a time; a multiple of every chunk's decoded size.
  private static let window: UInt64 = 16 << 20

  func run() throws {
    let filter = try TensorFilter(tensor)
    let reader = try Inputs.checkpoint(file)
    try Inputs.refuseOverwriting(output, inputs: reader.file.map { [$0.identity] } ?? [])
    try Inputs.refuseTerminal(output)
    let indices = try filter.indices(in: reader, file: file)
    let metadata = try concerning(file) { try userMetadata(reader) }
    var index: [String: Int] = [:]
    var tensors: [SafetensorsWriter.Tensor] = []
    for number in indices {
      let info = reader.tensor(number)
      index[info.name] = number
      tensors.append(.init(name: info.name, dtype: info.dtype, shape: info.shape))
    }
    let ordered = SafetensorsWriter.aligned(tensors)
    let writer = try concerning(output) {
      output == "-"
        ? try SafetensorsWriter(descriptor: STDOUT_FILENO, tensors: ordered, metadata: metadata)
        : try SafetensorsWriter(path: output, tensors: ordered, metadata: metadata)
    }
    let total = indices.reduce(0) { $0 + reader.tensor($1).sourceBytes }
    var progress = Progress(total: total, quiet: quiet)
    defer { progress.finish() }
    for entry in writer.entries {
      guard let number = index[entry.name] else { continue }
      try decode(number, reader: reader, writer: writer, progress: &progress)
    }
    progress.finish()
    let bytes = try concerning(output) { try writer.finish() }
    if quiet { return }
    let line = "\(output): \(indices.count) tensors, \(ByteSize.text(bytes))"
    if output == "-" { Terminal.error(line) } else { Terminal.print(line) }
  }

  private func userMetadata(_ reader: CheckpointReader) throws -> [String: String] {
    guard case .object(let members)? = try reader.metadata()["metadata"] else { return [:] }
    // What is no string came from another writer; safetensors holds strings alone.
    return members.mapValues { $0.stringValue ?? $0.serialized() }
  }

  private func decode(
    _ index: Int, reader: CheckpointReader, writer: SafetensorsWriter, progress: inout Progress
  ) throws {
    let contents = try concerning(file) { try reader.contents(of: index) }
    var buffer = [UInt8](repeating: 0, count: Int(min(Self.window, contents.byteCount)))
    var offset: UInt64 = 0
    while offset < contents.byteCount {
      let count = Int(min(Self.window, contents.byteCount - offset))
      try unsafe buffer.withUnsafeMutableBytes { bytes in
        let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
        try concerning(file) { try unsafe contents.read(at: offset, into: piece, threads: threads.count) }
        try concerning(output) { try unsafe writer.write(UnsafeRawBufferPointer(piece)) }
      }
      offset += UInt64(count)
      progress.advance(UInt64(count))
    }
  }
}
