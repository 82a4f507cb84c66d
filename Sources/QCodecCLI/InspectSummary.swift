import QCheckpoint
import QVerify

/// What `inspect` says of a checkpoint, as text.
struct InspectSummary {
  private let summary: CheckpointSummary

  init(_ summary: CheckpointSummary) { self.summary = summary }

  private var reader: CheckpointReader { summary.reader }

  // MARK: Text

  /// The header summary.
  func lines(file: String) -> [String] {
    let version = reader.formatVersion
    var lines = [
      "\(file.escapingControls): qcodec checkpoint, format \(version.major).\(version.minor)",
      "\(reader.tensorCount) tensors, \(summary.elements) elements, \(ByteSize.text(summary.sourceBytes)) in "
        + "\(ByteSize.text(reader.fileBytes)) (\(Decimal.text(summary.ratio, digits: 2)) times smaller)",
    ]
    if let digest = reader.baseDigest {
      let place = summary.base["name"]?.stringValue.map { " '\($0)'".escapingControls } ?? ""
      let found = reader.base == nil ? "not at hand" : "at hand"
      lines.append("base\(place) of digest \(digest), \(found)")
    }
    if let name = summary.policy?["name"]?.stringValue { lines.append("policy \(name.escapingControls)") }
    if let error = summary.updateError { lines.append(Describe.update(error, pairs: summary.pairs.count)) }
    if case .object(let members) = summary.metadata {
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        lines.append(Self.cut("\(key): \(value.stringValue ?? value.serialized())".escapingControls))
      }
    }
    return lines + [""]
  }

  /// The beginning of metadata, which may be long.
  private static func cut(_ text: String) -> String {
    let limit = Terminal.width ?? 200
    return text.count > limit ? text.prefix(limit - 1) + "…" : text
  }

  /// One line a tensor.
  func table(indices: [Int]) -> [String] {
    var table = TextTable([
      "tensor", "dtype", "shape", "role", "stored as", "bits", "ratio", "max error", "guaranteed", "relative", "rel L2",
      "zeros",
    ])
    for index in indices {
      let info = reader.tensor(index)
      let ratio = info.storedBytes == 0 ? 0 : Double(info.sourceBytes) / Double(info.storedBytes)
      table.add([
        info.name, info.dtype.name, Describe.shape(info.shape), info.role.name,
        Describe.stored(info.scheme, info.reason), Decimal.text(info.bitsPerValue, digits: 3),
        Decimal.text(ratio, digits: 2), Decimal.scientific(info.statistics.maxAbsError),
        info.guaranteedMaxAbsError.map(Decimal.scientific) ?? "none",
        info.guaranteedMaxRelError.map(Decimal.scientific) ?? "",
        Decimal.scientific(info.statistics.relativeL2Error), String(info.statistics.zerosCreated),
      ])
    }
    var lines = table.lines(width: Terminal.width, leading: 5)
    if Terminal.usesStyle, !lines.isEmpty { lines[0] = "\u{1B}[1m\(lines[0])\u{1B}[0m" }
    return lines
  }
}
