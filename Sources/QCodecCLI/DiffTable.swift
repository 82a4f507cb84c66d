import QCheckpoint
import QVerify

/// What `diff` found, as text.
struct DiffTable {
  /// The tensors that are listed without `--all`.
  static let most = 20

  private let report: ComparisonReport
  private let kinds: (String, String)

  init(_ report: ComparisonReport, kinds: (String, String)) { (self.report, self.kinds) = (report, kinds) }

  /// The table, what there is to say of metadata, schemes and updates, and the verdict as the last line.
  func lines(files: (String, String), all: Bool) -> [String] {
    let (a, b) = (files.0.escapingControls, files.1.escapingControls)
    return table(all: all) + notes + [verdict(a, b)]
  }

  // MARK: Table

  private func table(all: Bool) -> [String] {
    let differing = report.tensors.filter { $0.change != .equal }.sorted(by: Self.isWorse)
    let listed = all ? differing + report.tensors.filter { $0.change == .equal } : Array(differing.prefix(Self.most))
    guard !listed.isEmpty else { return [] }
    let updates = report.pairs > 0 ? ["update L2", "update max"] : []
    var table = TextTable(["tensor", "change", "dtype", "shape", "rel L2", "max abs", "cosine", "differ"] + updates)
    for tensor in listed { table.add(cells(tensor, updates: !updates.isEmpty)) }
    var lines = table.lines(width: Terminal.width, leading: 4)
    if Terminal.usesStyle { lines[0] = "\u{1B}[1m\(lines[0])\u{1B}[0m" }
    if listed.count < differing.count {
      lines.append("and \(differing.count - listed.count) more that differ; --all lists them")
    }
    return lines
  }

  /// What has no distance comes first, then the largest; the order of names among equals.
  private static func isWorse(_ one: ComparisonReport.Tensor, _ other: ComparisonReport.Tensor) -> Bool {
    let (own, theirs) = (rank(one), rank(other))
    return own == theirs ? one.name.utf8.lexicographicallyPrecedes(other.name.utf8) : own > theirs
  }

  private static func rank(_ tensor: ComparisonReport.Tensor) -> Double {
    guard let distance = tensor.distance?.relativeL2 else { return .infinity }
    return distance.isNaN ? .infinity : distance
  }

  private func cells(_ tensor: ComparisonReport.Tensor, updates: Bool) -> [String] {
    let distance = tensor.distance
    let own = [
      tensor.name, tensor.change.rawValue, Self.both(tensor) { $0.dtype.name },
      Self.both(tensor) { Describe.shape($0.shape) },
      distance.map { Decimal.scientific($0.relativeL2) } ?? "", distance.map { Decimal.scientific($0.maxAbs) } ?? "",
      distance?.cosine.map { Decimal.text($0, digits: 6) } ?? "", tensor.differing.map { String($0) } ?? "",
    ]
    guard updates else { return own }
    let update = tensor.update
    return own + [
      update.map { Decimal.scientific($0.relativeL2Error) } ?? "",
      update.map { Decimal.scientific($0.maxAbsError) } ?? "",
    ]
  }

  /// What both sides have in common, or one and then the other.
  private static func both(_ tensor: ComparisonReport.Tensor, _ text: (ComparisonReport.Form) -> String) -> String {
    let texts = [tensor.a, tensor.b].compactMap { $0.map(text) }
    return texts.count == 2 && texts[0] == texts[1] ? texts[0] : texts.joined(separator: " -> ")
  }

  // MARK: Sentences

  private var notes: [String] {
    var lines: [String] = []
    if report.pairs > 0, !report.isEqual {
      let update = report.update
      lines.append(
        "update m/(√v + \(update.epsilon)) of \(report.pairs) pair\(report.pairs == 1 ? "" : "s") of moments: relative "
          + "L2 \(Decimal.scientific(update.relativeL2Error)), largest difference "
          + Decimal.scientific(update.maxAbsError))
    }
    let schemes = report.tensors.count { $0.schemesDiffer == true }
    if schemes > 0 { lines.append("\(Self.tensors(schemes)) stored under other schemes") }
    var members = report.metadata.map { $0.key.escapingControls }
    if let other = report.documentMembers, !other.isEmpty {
      members.append("the document's " + other.map(\.escapingControls).joined(separator: ", "))
    }
    if !members.isEmpty { lines.append("metadata differ: \(members.joined(separator: ", "))") }
    return lines
  }

  private func verdict(_ a: String, _ b: String) -> String {
    let total = report.tensors.count
    if report.isEqual { return "\(a) and \(b) are equal: \(Self.tensors(total)), bit for bit" }
    let parts = ComparisonReport.Change.allCases.compactMap { change -> String? in
      let count = report.count(change)
      return change == .equal || count == 0 ? nil : "\(count) \(change.rawValue)"
    }
    var text = "\(a) (\(kinds.0)) and \(b) (\(kinds.1)) "
    text += report.limits != nil && report.isWithinLimits ? "differ within the limits" : "differ"
    text += ": of \(Self.tensors(total)) \(parts.joined(separator: ", "))"
    let measured = report.tensors.filter { $0.change != .equal && $0.distance != nil }
    if let worst = measured.min(by: Self.isWorse), let distance = worst.distance {
      text +=
        "; largest relative L2 \(Decimal.scientific(distance.relativeL2)) (tensor '\(worst.name.escapingControls)')"
    }
    return text
  }

  private static func tensors(_ count: Int) -> String { "\(count) tensor\(count == 1 ? "" : "s")" }
}
