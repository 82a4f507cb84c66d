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

/// `qcodec encode`: tensors in, a checkpoint out.
struct EncodeCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "encode", abstract: "Compress optimizer state into a checkpoint.",
    discussion: """
      Reads safetensors (or an index of shards), .npy, .npz and .qckpt files, by content; several become one checkpoint. \
      The file appears at its path when it is complete, and takes the place of what was there.

      A bound holds for every element: it is checked with the decoder's arithmetic, and what the codes do not keep is \
      stored beside them. It takes the place of a policy.

      With --base the checkpoint refers to another, of an earlier step for instance: what is the same is not stored again, \
      and of what is not the difference is stored where that is smaller. The base is to stay where it is, seen from \
      the checkpoint, or to be named to whoever reads it; 'qcodec flatten' makes the checkpoint stand alone.

      EXAMPLES:
        qcodec encode optimizer.safetensors -o optimizer.qckpt
        qcodec encode a.npz b.npz -o both.qckpt --policy adam4 --compression zstd
        qcodec encode optimizer.safetensors --dry-run --policy rules.yaml
        qcodec encode optimizer.safetensors -o o.qckpt --policy adamq --quality 0.05
        qcodec encode - -o - <optimizer.safetensors >optimizer.qckpt
        qcodec encode optimizer.safetensors -o o.qckpt --metadata step=1000
        qcodec encode o.safetensors -o bound.qckpt --max-update-error 0.15rms
        qcodec encode step2.safetensors -o step2.qckpt --base step1.qckpt
      """)

  @Argument(help: "Input files; '-' is standard input.", completion: Completions.documents)
  var inputs: [String]

  @Option(
    name: .shortAndLong, help: "The checkpoint to write; '-' is standard output.", completion: Completions.checkpoints)
  var output: String?

  @Option(
    help: """
      A policy: \(Policy.presetNames.joined(separator: ", ")), or a JSON or YAML file of rules; \
      \(Policy.defaultName) where neither policy nor bound is given.
      """,
    completion: Completions.policies)
  var policy: String?

  @OptionGroup var bound: BoundOptions

  @Option(
    help: ArgumentHelp(
      "Under adamq: the relative L2 error of the update to aim at, \(Policy.qualities.lowerBound) to "
        + "\(Policy.qualities.upperBound); \(Policy.defaultQuality) if not given.", valueName: "error"))
  var quality: Double?

  @Option(help: "The lossless stage.")
  var compression = CompressionOption.lz4

  @Option(
    help: ArgumentHelp("A checkpoint to which the one to be written may refer.", valueName: "previous"),
    completion: Completions.checkpoints)
  var base: String?

  @Option(help: "The rule for scales: the map's own, or plain absolute maxima.")
  var scale = ScaleOption.auto

  @Option(name: .customLong("nonfinite"), help: "NaN and infinities: an error, or the tensor stored lossless.")
  var nonFinite = NonFiniteOption.error

  @Option(help: ArgumentHelp("Round stochastically, with this seed.", valueName: "seed"))
  var stochastic: UInt64?

  @Flag(help: "Measure what the coding of moments does to the update m/(√v + ε), and record it.")
  var measureUpdate = false

  @OptionGroup var epsilon: EpsilonOptions

  @OptionGroup var threads: ThreadOptions

  @Option(help: ArgumentHelp("User metadata, kept beside that of the inputs.", valueName: "key=value"))
  var metadata: [String] = []

  @Flag(help: "Write nothing; say what would be saved and how large it would be.")
  var dryRun = false

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if output == nil, !dryRun { throw ValidationError("--output is missing") }
    if output == "-", json, !dryRun { throw ValidationError("standard output cannot hold both checkpoint and --json") }
    if inputs.filter({ $0 == "-" }).count > 1 { throw ValidationError("standard input can be read once") }
    if try bound.requested(epsilon: epsilon.eps) != nil {
      guard policy == nil, scale == .auto, stochastic == nil, quality == nil else {
        throw ValidationError(
          "a bound chooses schemes itself: it goes without --policy, --quality, --scale and --stochastic")
      }
    }
    if let quality {
      guard policy == "adamq" else { throw ValidationError("--quality goes with --policy adamq") }
      guard Policy.qualities.contains(quality) else {
        let (least, most) = (Policy.qualities.lowerBound, Policy.qualities.upperBound)
        throw ValidationError("--quality takes \(least) to \(most), not \(quality)")
      }
    }
    if base == "-" { throw ValidationError("the base is a file, not standard input") }
    if let bad = metadata.first(where: { !$0.contains("=") }) {
      throw ValidationError("--metadata takes KEY=VALUE, not '\(bad)'")
    }
  }

  func run() throws {
    let requested = try bound.requested(epsilon: epsilon.eps)
    let policy = try resolvedPolicy(requested)
    var job = try EncodeJob(inputs: inputs, policy: policy, bound: requested, extraMetadata: metadata)
    let base = try openBase()
    if let output, !dryRun {
      let policyFile = self.policy.flatMap { PolicyFile.identity($0) }.map { [$0] } ?? []
      try Inputs.refuseOverwriting(output, inputs: job.files.union(policyFile).union(base?.files ?? []))
      try Inputs.refuseTerminal(output)
    }
    let target = dryRun ? "/dev/null" : output ?? "-"
    // Under a bound every tensor is looked over before any is written.
    let progress = Progress(total: job.writtenBytes * (requested == nil ? 1 : 2))
    defer { progress.finish() }
    let additions = try planned(&job, requested, progress)
    let summary = try write(job, additions, base: base, to: target, progress: progress)
    progress.finish()
    report(job, summary, seconds: progress.seconds)
  }

  private func resolvedPolicy(_ requested: RequestedBound?) throws -> Policy {
    let name = requested?.presetName ?? policy ?? Policy.defaultName
    var policy = try quality.map { Policy.adamq(quality: $0) } ?? PolicyFile.load(name)
    if scale == .absmax { policy = policy.withAbsmaxScales() }
    if let stochastic { policy = policy.withStochasticRounding(seed: stochastic) }
    return policy
  }

  private var options: WriterOptions {
    WriterOptions(compression: compression.compression, threads: threads.count)
  }

  /// What is to be written, with the schemes that a bound makes.
  private func planned(
    _ job: inout EncodeJob, _ requested: RequestedBound?, _ progress: Progress
  ) throws -> [Addition] {
    let own = job
    let additions = job.items.filter { !$0.isPartner }.map { $0.addition(in: own) }
    guard let requested else { return additions }
    let planner = BoundPlanner(requested, options: options, nonFinite: nonFinite.policy)
    do throws(QCodecError) {
      let bounded = try planner.bounded(additions) { progress.advance($0) }
      job.settle(bounded)
      return bounded
    } catch {
      throw Failure(error, file: job.faults.file ?? job.file(ofTensor: error.tensor) ?? inputs[0])
    }
  }

  /// The base with all that lies behind it.
  private func openBase() throws -> CheckpointReader? {
    guard let base else { return nil }
    let reader = try Inputs.checkpoint(base)
    if let error = reader.baseFailure {
      throw Failure("its own base is not at hand: \(error.message)", file: base, status: ExitStatus(error))
    }
    return reader
  }

  private func write(
    _ job: EncodeJob, _ additions: [Addition], base: CheckpointReader?, to target: String, progress: Progress
  ) throws -> WriteSummary {
    var options = options
    options.allowsEscapes = job.isBounded
    options.base = base
    options.baseName = self.base.map { FilePlace($0).relative(to: FilePlace(output ?? "")) }
    let writer = try Interruption.held {
      let writer = try concerning(target) {
        target == "-"
          ? try CheckpointWriter(descriptor: STDOUT_FILENO, options: options)
          : try CheckpointWriter(path: target, options: options)
      }
      Interruption.removeWhenInterrupted(writer.temporaryPath)
      return writer
    }
    do throws(QCodecError) {
      try writer.add(
        additions, nonFinite: nonFinite.policy, measuring: measureUpdate ? epsilon.eps : nil,
        progress: { progress.advance($0) })
    } catch {
      // What the system refuses, unless it was a read, it refuses to the output.
      let file = job.faults.file ?? (error.code == .io ? target : job.file(ofTensor: error.tensor))
      throw Failure(error, file: file ?? target)
    }
    return try concerning(target) {
      try writer.setMetadata(job.document)
      return try writer.finish()
    }
  }

  private func report(_ job: EncodeJob, _ summary: WriteSummary, seconds: Double) {
    let ratio = summary.fileBytes == 0 ? 0 : Double(job.byteCount) / Double(summary.fileBytes)
    if json {
      let document = JSONValue.object([
        "input_bytes": .count(job.byteCount), "output_bytes": .count(summary.fileBytes),
        "tensors": .count(summary.tensors), "elements": .count(summary.elements), "ratio": .number(ratio),
        "seconds": .number(seconds), "dry_run": .bool(dryRun), "dropped": .array(job.dropped.map { .string($0) }),
        "base_chunks": .count(summary.baseChunks), "difference_chunks": .count(summary.differenceChunks),
      ])
      return Terminal.print(document.serialized(pretty: true))
    }
    if quiet { return }
    if dryRun { for line in job.plan(width: Terminal.width) { Terminal.print(line) } }
    let name = dryRun ? "would write" : "\(output ?? "-"):"
    let line =
      "\(name) \(summary.tensors) tensors, \(summary.elements) elements, \(ByteSize.text(job.byteCount)) to "
      + "\(ByteSize.text(summary.fileBytes)) (\(Decimal.text(ratio, digits: 2)) times smaller), "
      + "\(Decimal.text(seconds, digits: 2)) s"
    let relations =
      base == nil
      ? "" : "; \(summary.baseChunks) chunks are the base's, \(summary.differenceChunks) differences to it"
    // Standard output may hold the checkpoint itself.
    if output == "-", !dryRun { Terminal.error(line + relations) } else { Terminal.print(line + relations) }
  }
}
