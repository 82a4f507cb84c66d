import ArgumentParser
import QCheckpoint
import QCodec
import QVerify

/// `qcodec verify`: every byte, every guarantee, and every element where there is an original.
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check a checkpoint's bytes and guarantees, or each element against an original.")

  @Argument(help: "The checkpoint; '-' is standard input.")
  var file: String

  @Option(help: "The original: safetensors, an index of shards, .npy, .npz or .qckpt.")
  var against: String?

  @Option(name: .customLong("max-rel-l2"), help: "The relative L2 error that no tensor is to exceed.")
  var maxRelativeL2: Double?

  @Option(name: .customLong("max-abs"), help: "The absolute error that no element is to exceed.")
  var maxAbsolute: Double?

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    for limit in [maxRelativeL2, maxAbsolute] {
      if let limit, !(limit >= 0) { throw ValidationError("a limit is to be 0 or more") }
    }
    if file == "-", against == "-" { throw ValidationError("standard input can be read once") }
  }

  func run() throws {
    let reader = try Inputs.checkpoint(file)
    let faults = ReadFaults()
    let original = try against.map { try Inputs.document($0).noting($0, in: faults) }
    let limits = Verifier.Limits(maxRelativeL2: maxRelativeL2, maxAbsolute: maxAbsolute)
    let verifier = Verifier(reader, limits: limits, threads: threads.count)
    let total = (0..<reader.tensorCount).reduce(0) { $0 + reader.tensor($1).sourceBytes }
    var progress = Progress(total: total, quiet: quiet || json)
    defer { progress.finish() }
    let report: VerificationReport
    do {
      report = try verifier.verify(against: original) { progress.advance($0) }
    } catch {
      throw Failure(error, file: faults.file ?? file)
    }
    progress.finish()
    if json {
      Terminal.print(Self.document(report).serialized(pretty: true))
    } else if report.ok, !quiet {
      Terminal.print(Self.line(report, file: file, compared: original != nil))
    }
    if let first = report.firstViolation {
      throw Failure(Self.text(first, of: report.violations), file: file, status: .failed)
    }
  }

  private static func line(_ report: VerificationReport, file: String, compared: Bool) -> String {
    let worst = report.tensors.map(\.relativeL2Error).max() ?? 0
    let how = compared ? "every element within its bound" : "every byte and guarantee checked"
    return "\(file): ok, \(report.tensors.count) tensors, \(how), largest relative L2 error "
      + Decimal.scientific(worst)
  }

  private static func text(_ violation: VerificationReport.Violation, of count: UInt64) -> String {
    var text = "\(count) violation\(count == 1 ? "" : "s"); the first: \(violation.reason)"
    if let expected = violation.expected { text += ", expected \(expected)" }
    if let got = violation.got { text += ", got \(got)" }
    if let bound = violation.bound { text += ", bound \(bound)" }
    let place = violation.index.map { ", element \($0)" } ?? ""
    return "\(text) (tensor '\(violation.tensor)'\(place))"
  }

  private static func document(_ report: VerificationReport) -> JSONValue {
    let first = report.firstViolation.map { violation in
      JSONValue.object([
        "tensor": .string(violation.tensor), "index": violation.index.map { .count($0) } ?? .null,
        "expected": .optional(violation.expected), "got": .optional(violation.got),
        "bound": .optional(violation.bound), "reason": .string(violation.reason),
      ])
    }
    return .object([
      "ok": .bool(report.ok), "violations": .count(report.violations), "first_violation": first ?? .null,
      "tensors": .array(
        report.tensors.map { tensor in
          .object([
            "name": .string(tensor.name), "max_abs_error": .number(tensor.maxAbsError),
            "rel_l2_error": .number(tensor.relativeL2Error), "violations": .count(tensor.violations),
            "guaranteed_max_abs_error": .optional(tensor.guaranteedMaxAbsError),
            "recomputed_guarantee": .optional(tensor.recomputedGuarantee),
          ])
        }),
    ])
  }
}
