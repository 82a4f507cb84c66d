import ArgumentParser
import QCheckpoint
import QCodec
import QVerify

/// `qcodec diff`: what two files of tensors do not have in common, and how far apart their values are.
struct DiffCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Compare two files of tensors: names, shapes, dtypes, values and Adam updates.",
    discussion: """
      Both may be of any kind that encode reads. Quantized tensors are compared by their decoded values, by their bits: \
      +0 and -0 differ, a NaN equals one of the same bits. Distances are relative to A. Metadata and schemes that differ \
      are told, but do not count.

      Exit status: 0 if all tensors are equal or within the limits given, 1 if not. A limit excuses values alone, never \
      another name, shape or dtype; --max-abs 0 admits zeros of either sign. With both limits both are to be kept.

      The \(DiffTable.most) tensors that differ most are listed, the worst first; --all lists every tensor.

      EXAMPLES:
        qcodec diff before.qckpt after.qckpt
        qcodec diff optimizer.safetensors optimizer.qckpt --max-rel-l2 0.01
        qcodec diff a.npz b.npz --tensor 'exp_avg*' --json
        qcodec diff a.qckpt b.qckpt --quiet || echo they differ
      """)

  @Argument(
    help: "The file to compare with: safetensors, an index of shards, .npy, .npz or .qckpt.",
    completion: Completions.documents)
  var a: String

  @Argument(help: "The file to compare; '-' for either is standard input.", completion: Completions.documents)
  var b: String

  @Option(name: .long, help: ArgumentHelp("Only tensors whose names match; may be repeated.", valueName: "glob"))
  var tensor: [String] = []

  @Option(
    name: .customLong("max-rel-l2"), help: "Differences are reported, but excused, up to this relative L2 of a tensor.")
  var maxRelativeL2: Double?

  @Option(name: .customLong("max-abs"), help: "Likewise up to this difference of an element.")
  var maxAbsolute: Double?

  @OptionGroup var epsilon: EpsilonOptions

  @Flag(help: "List every tensor, equal ones as well.")
  var all = false

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Print nothing but errors: the exit status tells.")
  var quiet = false

  func validate() throws {
    for limit in [maxRelativeL2, maxAbsolute] {
      if let limit, !(limit >= 0) { throw ValidationError("a limit is to be 0 or more") }
    }
    if a == "-", b == "-" { throw ValidationError("standard input can be read once") }
  }

  func run() throws {
    let filter = try TensorFilter(tensor)
    let (one, other) = (try Inputs.document(a), try Inputs.document(b))
    let chosen = (a: one.filter { filter.holds($0.name) }, b: other.filter { filter.holds($0.name) })
    try filter.requireMatch(chosen.a.tensors + chosen.b.tensors, file: "\(a) and \(b)")
    let report = try compare(chosen.a, chosen.b)
    if json {
      Terminal.print(report.json(includesEqual: all).serialized(pretty: true))
    } else if !quiet {
      Terminal.print(lines: DiffTable(report, kinds: (one.kind, other.kind)).lines(files: (a, b), all: all))
    }
    if !report.isWithinLimits { throw Ending(status: .failed) }
  }

  private func compare(_ one: InputDocument, _ other: InputDocument) throws -> ComparisonReport {
    let faults = ReadFaults()
    let isLimited = maxRelativeL2 != nil || maxAbsolute != nil
    let comparison = CheckpointComparison(
      one.noting(a, in: faults), other.noting(b, in: faults),
      limits: isLimited ? .init(maxRelativeL2: maxRelativeL2, maxAbsolute: maxAbsolute) : nil, epsilon: epsilon.eps,
      threads: threads.count)
    let progress = Progress(total: comparison.workBytes)
    defer { progress.finish() }
    do {
      return try comparison.compare { progress.advance($0) }
    } catch {
      progress.finish()
      throw Failure(error, file: faults.file ?? a)
    }
  }
}
