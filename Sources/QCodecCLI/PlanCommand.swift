import ArgumentParser
import QCheckpoint
import QCodec
import QPlanner

/// `qcodec plan`: the schemes that a budget of bits, or of errors, is best spent on.
struct PlanCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Find the schemes that a budget of bits or of errors is best spent on.",
    discussion: """
      Maps, widths, blocks, domains, tables fitted to the tensor and lossless are tried on every moment of 4,096 elements \
      and more: on a sample of it, and on all of it what does best. The plan is the assignment of least error within the \
      bits, or of fewest bits within the error. -o writes it as a policy, under which encode stores what was planned.

      Exit status: 0 if the budget is met, 1 if it cannot be; the message says how near a plan comes, and nothing is written.

      EXAMPLES:
        qcodec plan optimizer.safetensors --target-bits 8.5 -o policy.json
        qcodec plan optimizer.safetensors --max-update-error 0.01
        qcodec plan optimizer.safetensors --target-size 12MiB --compression zstd
        qcodec plan optimizer.safetensors --target-bits 12 --json --sample 0.1
      """)

  @Argument(
    help: "What encode would be given: safetensors, an index of shards, .npy, .npz or .qckpt.",
    completion: Completions.documents)
  var inputs: [String]

  @OptionGroup var budget: BudgetOptions

  @Option(
    name: .shortAndLong, help: "Write the plan as a policy, in JSON, to this file.",
    completion: .file(extensions: ["json"]))
  var output: String?

  @Option(help: "Try this share of the chunks of each tensor; by default all, of more than 16 million elements fewer.")
  var sample: Double?

  @OptionGroup var epsilon: EpsilonOptions

  @Option(help: "The lossless stage that --target-size, and under zstd bounds on errors, count with.")
  var compression = CompressionOption.lz4

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if let sample, !(sample > 0 && sample <= 1) { throw ValidationError("--sample is to be above 0 and at most 1") }
    if inputs.contains("-") { throw ValidationError("a plan is made of files, which are read several times") }
    if let sample, sample < 1, budget.isOfEach {
      throw ValidationError("a bound on each tensor or element takes all of them: --sample is to be 1")
    }
  }

  func run() throws {
    let faults = ReadFaults()
    let documents = try inputs.map { try Inputs.document($0).noting($0, in: faults) }
    let document = InputDocument(
      tensors: documents.flatMap(\.tensors), metadata: [:], kind: "inputs",
      files: documents.reduce(into: []) { $0.formUnion($1.files) })
    if let output { try Inputs.refuseOverwriting(output, inputs: document.files) }
    let planner = try measured(document, faults)
    guard !planner.units.isEmpty else {
      throw Failure(
        "there are no moments of 4,096 elements and more: nothing to plan", file: inputs[0], status: .invalidInput)
    }
    let outcome = try budget.outcome(planner) { try encodedSize($0) }
    let name = output.map { splitName($0) } ?? "plan"
    switch outcome {
    case .met(let plan, let size):
      if let output { try write(plan.policy(name: name), to: output) }
      try report(planner, plan, size, isMet: true)
    case .missed(let plan, let size, let how):
      if json { try report(planner, plan, size, isMet: false) }
      throw Failure("no plan keeps \(budget.text): \(how)", file: inputs[0], status: .failed)
    }
  }

  private func measured(_ document: InputDocument, _ faults: ReadFaults) throws -> Planner {
    let units = try concerning(inputs[0]) { try PlanUnit.units(of: document) }
    let elements = units.reduce(0) { $0 + $1.elements }
    var options = Planner.Options()
    options.epsilon = epsilon.eps
    options.threads = threads.count
    options.boundsEach = budget.isOfEach
    // Uniform steps pay where zstd follows: bounds on errors are then kept with the fewest bits behind it.
    let isStored = budget.countsStoredBytes || (compression == .zstd && budget.targetBits == nil)
    options.compression = isStored ? compression.compression : .none
    options.sample = sample ?? (budget.isOfEach ? 1 : min(1, 16_777_216 / Double(max(elements, 1))))
    let total = units.flatMap(\.tensors).reduce(0) { $0 + $1.source.byteCount }
    let progress = Progress(total: total)
    defer { progress.finish() }
    do throws(QCodecError) { return try Planner(document, options) { progress.advance($0) } } catch {
      throw Failure(error, file: faults.file ?? inputs[0])
    }
  }

  /// Bytes of the checkpoint that encode would write under a plan.
  private func encodedSize(_ plan: Plan) throws -> UInt64 {
    let job = try EncodeJob(inputs: inputs, policy: try plan.policy(name: "plan"), extraMetadata: [])
    let options = WriterOptions(compression: compression.compression, threads: threads.count)
    return try concerning(inputs[0]) {
      let writer = try CheckpointWriter(path: "/dev/null", options: options)
      try writer.add(job.items.filter { !$0.isPartner }.map { $0.addition(in: job) })
      try writer.setMetadata(job.document)
      return try writer.finish().fileBytes
    }
  }

  private func splitName(_ path: String) -> String {
    let file = path.split(separator: "/").last.map(String.init) ?? path
    return file.split(separator: ".").first.map(String.init) ?? file
  }

  private func write(_ policy: Policy, to path: String) throws {
    let text = policy.json.serialized(pretty: true)
    if path == "-" { return Terminal.print(text) }
    try concerning(path) {
      let file = try OutputFile(path: path)
      do throws(QCodecError) {
        try file.write(Array((text + "\n").utf8))
        try file.commit()
      } catch {
        file.abort()
        throw error
      }
    }
  }

  private func report(_ planner: Planner, _ plan: Plan, _ size: UInt64?, isMet: Bool) throws {
    let table = PlanTable(planner, plan, size: size)
    if json {
      return Terminal.print(try table.document(budget: budget.json, isMet: isMet).serialized(pretty: true))
    }
    if !quiet, output != "-" { Terminal.print(lines: try table.lines(width: Terminal.width)) }
  }
}
