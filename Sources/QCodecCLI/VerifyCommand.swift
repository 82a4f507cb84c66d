import ArgumentParser
import QCheckpoint
import QCodec
import QVerify

/// `qcodec verify`: every byte, every guarantee, and every element where there is an original.
struct VerifyCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check a checkpoint's bytes and guarantees, or each element against an original.",
    discussion: """
      Reads every byte against its checksum and computes every guarantee anew, from codes and scales. With --against each \
      element is held against its own bound, and the error of the update m/(√v + ε) is measured.

      Exit status: 0 if all holds, 1 if an element or a limit does not, 3 if the file is damaged.

      EXAMPLES:
        qcodec verify optimizer.qckpt
        qcodec verify optimizer.qckpt --against optimizer.safetensors
        qcodec verify optimizer.qckpt --max-rel-l2 0.05 --json
        qcodec verify o.qckpt --against o.safetensors --max-update-error 0.02
      """)

  @Argument(help: "The checkpoint; '-' is standard input.", completion: Completions.checkpoints)
  var file: String

  @Option(
    help: ArgumentHelp("The original: safetensors, an index of shards, .npy, .npz or .qckpt.", valueName: "original"),
    completion: Completions.documents)
  var against: String?

  @Option(name: .customLong("max-rel-l2"), help: "The relative L2 error that no tensor is to exceed.")
  var maxRelativeL2: Double?

  @Option(name: .customLong("max-abs"), help: "The absolute error that no element is to exceed.")
  var maxAbsolute: Double?

  @Option(
    help: "The relative L2 error of the update m/(√v + ε), over all pairs of moments, that is not to be exceeded.")
  var maxUpdateError: Double?

  @Option(help: "The error that no single update is to exceed.")
  var maxUpdateAbs: Double?

  @OptionGroup var epsilon: EpsilonOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if against == nil, maxUpdateError != nil || maxUpdateAbs != nil {
      throw ValidationError("a limit on the update takes --against")
    }
    for limit in [maxRelativeL2, maxAbsolute, maxUpdateError, maxUpdateAbs] {
      if let limit, !(limit >= 0) { throw ValidationError("a limit is to be 0 or more") }
    }
    if file == "-", against == "-" { throw ValidationError("standard input can be read once") }
  }

  func run() throws {
    let reader = try Inputs.checkpoint(file)
    let faults = ReadFaults()
    let original = try against.map { try Inputs.document($0).noting($0, in: faults) }
    let limits = Verifier.Limits(
      maxRelativeL2: maxRelativeL2, maxAbsolute: maxAbsolute, maxUpdateError: maxUpdateError,
      maxUpdateAbsolute: maxUpdateAbs)
    let verifier = Verifier(reader, limits: limits, epsilon: epsilon.eps, threads: threads.count)
    let progress = Progress(total: verifier.workBytes(against: original))
    defer { progress.finish() }
    let found = try DamageList.verify(
      reader, by: verifier, against: original, file: file, faults: faults, progress: progress, threads: threads.count)
    progress.finish()
    let report: VerificationReport
    switch found {
    case .success(let own): report = own
    case .failure(let damage): throw fail(damage)
    }
    if json {
      Terminal.print(Self.document(report).serialized(pretty: true))
    } else if report.ok, !quiet {
      Terminal.print(Self.line(report, file: file, compared: original != nil))
      if let error = report.updateError, report.pairs > 0 {
        Terminal.print(Describe.update(error, pairs: report.pairs))
      }
    }
    if let first = report.firstViolation {
      throw Failure(Describe.violations(first, of: report.violations), file: file, status: .failed)
    }
  }

  /// Tells all damage, and gives the last of it to end with.
  private func fail(_ damage: DamageList) -> Failure {
    if json { Terminal.print(Self.document(VerificationReport(), damage).serialized(pretty: true)) }
    let failures = damage.failures
    for failure in failures.dropLast() { Terminal.error(failure.line) }
    return failures[failures.count - 1]
  }

  /// The document of `--json`.
  private static func document(_ report: VerificationReport, _ damage: DamageList? = nil) -> JSONValue {
    guard case .object(var members) = report.json else { preconditionFailure("a report is an object") }
    members["damage"] = damage?.json ?? .array([])
    if damage != nil { members["ok"] = .bool(false) }
    return .object(members)
  }

  private static func line(_ report: VerificationReport, file: String, compared: Bool) -> String {
    let worst = report.tensors.map(\.relativeL2Error).max() ?? 0
    let how = compared ? "every element within its bound" : "every byte and guarantee checked"
    return "\(file): ok, \(report.tensors.count) tensors, \(how), largest relative L2 error "
      + Decimal.scientific(worst)
  }
}
