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

/// `qcodec flatten`: a checkpoint that refers to a base, rewritten so that it needs none.
struct FlattenCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flatten", abstract: "Make a checkpoint that refers to a base stand alone.",
    discussion: """
      Nothing is coded anew: chunks are copied out of the bases, and differences are undone. Where the bases were encoded \
      with the same options the file that comes of it is, to the byte, what encode gives without --base.

      EXAMPLES:
        qcodec flatten step2.qckpt -o alone.qckpt
        qcodec flatten step2.qckpt -o alone.qckpt --base old/step1.qckpt
        qcodec flatten step2.qckpt -o - --quiet | qcodec verify -
      """)

  @Argument(help: "The checkpoint; '-' is standard input.", completion: Completions.checkpoints)
  var file: String

  @Option(
    name: .shortAndLong, help: "The checkpoint to write; '-' is standard output.", completion: Completions.checkpoints)
  var output: String

  @OptionGroup var bases: BaseOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if json, output == "-" { throw ValidationError("standard output cannot hold both checkpoint and --json") }
  }

  func run() throws {
    let reader = try Inputs.checkpoint(file, bases: bases.readers())
    try Inputs.refuseOverwriting(output, inputs: reader.files)
    try Inputs.refuseTerminal(output)
    let flattener = try Interruption.held {
      let flattener = try concerning(output) {
        output == "-"
          ? try CheckpointFlattener(reader, descriptor: STDOUT_FILENO) : try CheckpointFlattener(reader, path: output)
      }
      Interruption.removeWhenInterrupted(flattener.temporaryPath)
      return flattener
    }
    let progress = Progress(total: (0..<reader.chunkCount).reduce(0) { $0 + UInt64(reader.chunk($1).rawLength) })
    defer { progress.finish() }
    let bytes: UInt64
    do throws(QCodecError) {
      bytes = try flattener.write(threads: threads.count) { progress.advance($0) }
    } catch {
      throw Failure(error, file: error.code == .io ? output : file)
    }
    progress.finish()
    report(reader, bytes: bytes)
  }

  private func report(_ reader: CheckpointReader, bytes: UInt64) {
    let (equal, different) = reader.relatedChunks
    if json {
      let document = JSONValue.object([
        "input_bytes": .count(reader.fileBytes), "output_bytes": .count(bytes), "chunks": .count(reader.chunkCount),
        "base_chunks": .count(equal), "difference_chunks": .count(different), "bases": .count(reader.chainLength),
      ])
      return Terminal.print(document.serialized(pretty: true))
    }
    if quiet { return }
    let line =
      "\(output): \(reader.tensorCount) tensors, \(ByteSize.text(reader.fileBytes)) to \(ByteSize.text(bytes)), "
      + "\(equal) chunks from the base, \(different) differences undone"
    if output == "-" { Terminal.error(line) } else { Terminal.print(line) }
  }
}
