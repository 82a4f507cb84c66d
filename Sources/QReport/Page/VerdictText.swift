import QVerify

/// The verdict in words.
struct VerdictText {
  let figures: CheckpointFigures

  /// Two or three words.
  var badge: String {
    switch figures.verdict {
    case .damaged: "Damaged"
    case .verified(let report, _) where !report.ok: "Failed verification"
    case .verified(_, let compared): compared ? "Verified against the original" : "Verified"
    }
  }

  /// The whole in a sentence.
  var sentence: String { ([outcome] + [size, update].compactMap(\.self)).joined(separator: "; ") + "." }

  private var outcome: String {
    let count = figures.tensors.count
    let report: VerificationReport
    switch figures.verdict {
    case .damaged(let defects):
      return "The file is damaged in \(NumberText.count(defects.count, "place")); "
        + "what stands here is what its directory says, and no value was read"
    case .verified(let found, _): report = found
    }
    guard report.ok else {
      let bad = figures.tensors.filter { $0.violations > 0 }.count
      return
        "Verification found \(NumberText.grouped(report.violations)) violation\(report.violations == 1 ? "" : "s") "
        + "in \(NumberText.grouped(UInt64(bad))) of \(NumberText.count(count, "tensor"))"
    }
    let free = figures.tensors.filter { $0.guaranteedMaxAbsError == nil }.count
    if count == 0 { return "The file holds no tensor" }
    if free == count { return "Nothing is guaranteed of the \(NumberText.count(count, "tensor")), which are imports" }
    let held =
      count == 1
      ? "The one tensor holds its recorded bound"
      : "Every one of the \(NumberText.grouped(UInt64(count - free))) tensors\(free > 0 ? " with a bound" : "") holds its recorded bound"
    return free > 0 ? "\(held), and nothing is guaranteed of \(NumberText.grouped(UInt64(free))) others" : held
  }

  private var size: String? {
    if let bits = figures.bitsPerParameter {
      return "the state takes \(NumberText.fixed(bits, digits: 2)) bits a parameter, "
        + "\(NumberText.fixed(64 / max(bits, 1e-9), digits: 2)) times smaller than float32"
    }
    guard figures.storedBytes > 0 else { return nil }
    let ratio = Double(figures.sourceBytes) / Double(figures.storedBytes)
    return
      "its tensors take \(NumberText.bytes(figures.storedBytes)), \(NumberText.fixed(ratio, digits: 2)) times smaller "
      + "than they were"
  }

  private var update: String? {
    guard let error = figures.updateError else {
      return figures.pairs.isEmpty
        ? nil : "what it does to the updates is not recorded, and is measured with an original"
    }
    return "updates differ by at most \(NumberText.error(error.maxAbsError)) (relative L2 "
      + "\(NumberText.error(error.relativeL2Error)))"
  }

  /// The first violation, or the defects, a line each; empty where all is well.
  var defects: [String] {
    switch figures.verdict {
    case .damaged(let lines): return lines
    case .verified(let report, _):
      guard let first = report.firstViolation else { return [] }
      return ["The first: \(first.text)"]
    }
  }
}

extension VerificationReport.Violation {
  /// The violation in a line, as `qcodec verify` tells it.
  public var text: String {
    var text = reason
    if let expected { text += ", expected \(expected)" }
    if let got { text += ", got \(got)" }
    if let bound { text += ", bound \(bound)" }
    let place = index.map { ", element \($0)" } ?? ""
    return tensor.map { "\(text) (tensor '\($0)'\(place))" } ?? text
  }
}
