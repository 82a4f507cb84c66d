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
struct DecodeCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode", abstract: "Restore tensors from a checkpoint into a safetensors file.",
    discussion: """
      Metadata go with the tensors. With --salvage a damaged or truncated checkpoint gives the tensors that are whole, and \
      standard error says what is lost.

      EXAMPLES:
        qcodec decode optimizer.qckpt -o restored.safetensors
        qcodec decode optimizer.qckpt -o moments.safetensors --tensor 'exp_avg*'
        qcodec decode damaged.qckpt -o rest.safetensors --salvage --json
        qcodec decode - -o - <optimizer.qckpt >restored.safetensors
      """)

  @Argument(help: "The checkpoint; '-' is standard input.", completion: Completions.checkpoints)
  var file: String

  @Option(
    name: .shortAndLong, help: "The safetensors file to write; '-' is standard output.",
    completion: Completions.safetensors)
  var output: String

  @Option(name: .long, help: ArgumentHelp("Only tensors whose names match; may be repeated.", valueName: "glob"))
  var tensor: [String] = []

  @Flag(help: "Of a damaged or truncated checkpoint write the tensors that are whole; status 1 if anything is lost.")
  var salvage = false

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document, with what is lost.")
  var json = false

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if json, output == "-" { throw ValidationError("standard output cannot hold both tensors and --json") }
  }

  func run() throws {
    let filter = try TensorFilter(tensor)
    let job = salvage ? try SalvageJob(file, filter: filter, threads: threads.count) : nil
    let reader = try job?.reader ?? Inputs.checkpoint(file)
    try Inputs.refuseOverwriting(output, inputs: reader.file.map { [$0.identity] } ?? [])
    try Inputs.refuseTerminal(output)
    let indices = try job?.whole ?? filter.indices(in: reader, file: file)
    if let failure = job?.failure(of: file), indices.isEmpty {
      if json { printDocument(of: job, tensors: 0, bytes: nil) }
      throw failure
    }
    let metadata = try concerning(file) { Self.userMetadata(try job.map(\.metadata) ?? reader.metadata()) }
    // By bytes: names that differ only in Unicode normalisation are names of different tensors.
    var index: [[UInt8]: Int] = [:]
    var tensors: [SafetensorsWriter.Tensor] = []
    for number in indices {
      let info = reader.tensor(number)
      index[Array(info.name.utf8)] = number
      tensors.append(.init(name: info.name, dtype: info.dtype, shape: info.shape))
    }
    let bytes = try write(tensors, metadata: metadata, index: index, reader: reader)
    if json { printDocument(of: job, tensors: tensors.count, bytes: bytes) }
    if let failure = job?.failure(of: file) { throw failure }
  }

  /// Writes the tensors and says so; returns the bytes of the file.
  private func write(
    _ tensors: [SafetensorsWriter.Tensor], metadata: [String: String], index: [[UInt8]: Int],
    reader: CheckpointReader
  ) throws -> UInt64 {
    let ordered = SafetensorsWriter.aligned(tensors)
    let writer = try Interruption.held {
      let writer = try concerning(output) {
        output == "-"
          ? try SafetensorsWriter(descriptor: STDOUT_FILENO, tensors: ordered, metadata: metadata)
          : try SafetensorsWriter(path: output, tensors: ordered, metadata: metadata)
      }
      Interruption.removeWhenInterrupted(writer.temporaryPath)
      return writer
    }
    let total = index.values.reduce(0) { $0 + reader.tensor($1).sourceBytes }
    let progress = Progress(total: total)
    defer { progress.finish() }
    let numbers = writer.entries.compactMap { index[Array($0.name.utf8)] }
    // What the output refuses is thrown among the checkpoint's own errors.
    var refusal: QCodecError?
    do throws(QCodecError) {
      try unsafe reader.stream(numbers, threads: threads.count) { bytes throws(QCodecError) in
        do throws(QCodecError) { try unsafe writer.write(bytes) } catch {
          refusal = error
          throw error
        }
        progress.advance(UInt64(bytes.count))
      }
    } catch {
      throw Failure(error, file: refusal == nil ? file : output)
    }
    progress.finish()
    let bytes = try concerning(output) { try writer.finish() }
    if quiet || json { return bytes }
    let line = "\(output): \(tensors.count) tensors, \(ByteSize.text(bytes))"
    if output == "-" { Terminal.error(line) } else { Terminal.print(line) }
    return bytes
  }

  private func printDocument(of job: SalvageJob?, tensors: Int, bytes: UInt64?) {
    let document = JSONValue.object([
      "tensors": .count(tensors), "output_bytes": bytes.map { .count($0) } ?? .null,
      "directory_lost": .bool(job?.isDirectoryLost ?? false),
      "metadata_lost": .bool(job.map { $0.metadata == nil } ?? false), "lost": job?.lostJSON ?? .array([]),
    ])
    Terminal.print(document.serialized(pretty: true))
  }

  /// The user's part of metadata, none where they are lost.
  private static func userMetadata(_ document: JSONValue?) -> [String: String] {
    guard case .object(let members)? = document?["metadata"] else { return [:] }
    // What is no string came from another writer; safetensors holds strings alone.
    return members.mapValues { $0.stringValue ?? $0.serialized() }
  }
}
