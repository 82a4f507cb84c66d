import QCheckpoint
import QCodec
import QVerify

/// What `inspect` says of a checkpoint, as text and as JSON.
struct InspectSummary {
  let reader: CheckpointReader
  private let policy: JSONValue?
  private let metadata: JSONValue
  private let elements: UInt64
  private let sourceBytes: UInt64
  private let storedBytes: UInt64
  /// Measured pairs by their first moments.
  private let pairs: [Int: (second: Int, error: UpdateError)]

  init(reader: CheckpointReader, metadata document: JSONValue) {
    self.reader = reader
    policy = document["policy"]
    metadata = document["metadata"] ?? .object([:])
    var (elements, source, stored) = (UInt64(0), UInt64(0), UInt64(0))
    for index in 0..<reader.tensorCount {
      let info = reader.tensor(index)
      elements += info.elementCount
      source += info.sourceBytes
      stored += info.storedBytes
    }
    (self.elements, sourceBytes, storedBytes) = (elements, source, stored)
    pairs = Dictionary(uniqueKeysWithValues: reader.measuredPairs.map { ($0.first, ($0.second, $0.error)) })
  }

  /// What the encoder measured of all pairs together; nil where it did not.
  private var updateError: UpdateError? {
    let measured = reader.measuredPairs
    guard let epsilon = measured.first?.error.epsilon else { return nil }
    return measured.reduce(into: UpdateError(epsilon: epsilon)) { $0.append($1.error) }
  }

  private var ratio: Double { Double(sourceBytes) / Double(reader.fileBytes) }

  // MARK: Text

  /// The header summary.
  func lines(file: String) -> [String] {
    let version = reader.formatVersion
    var lines = [
      "\(file.escapingControls): qcodec checkpoint, format \(version.major).\(version.minor)",
      "\(reader.tensorCount) tensors, \(elements) elements, \(ByteSize.text(sourceBytes)) in "
        + "\(ByteSize.text(reader.fileBytes)) (\(Decimal.text(ratio, digits: 2)) times smaller)",
    ]
    if let name = policy?["name"]?.stringValue { lines.append("policy \(name.escapingControls)") }
    if let updateError { lines.append(Describe.update(updateError, pairs: pairs.count)) }
    if case .object(let members) = metadata {
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

  // MARK: JSON

  /// The document of `--json`.
  func json(indices: [Int], histograms: [Int: CodeHistogram]) -> JSONValue {
    let version = reader.formatVersion
    return .object([
      "format_version": .string("\(version.major).\(version.minor)"), "file_bytes": .count(reader.fileBytes),
      "tensor_count": .count(reader.tensorCount), "element_count": .count(elements),
      "source_bytes": .count(sourceBytes), "stored_bytes": .count(storedBytes), "ratio": .number(ratio),
      "policy": policy ?? .null, "metadata": metadata,
      "update_error": updateError.map { .update($0, pairs: pairs.count) } ?? .null,
      "tensors": .array(indices.map { tensor($0, histogram: histograms[$0]) }),
    ])
  }

  private func tensor(_ index: Int, histogram: CodeHistogram?) -> JSONValue {
    let info = reader.tensor(index)
    let own: [String: JSONValue] = [
      "name": .string(info.name), "dtype": .string(info.dtype.name), "shape": .array(info.shape.map { .count($0) }),
      "role": .string(info.role.name), "reason": info.reason.name.map { .string($0) } ?? .null,
      "compression": .string(Describe.compression(info)), "source_bytes": .count(info.sourceBytes),
      "stored_bytes": .count(info.storedBytes), "bits_per_value": .number(info.bitsPerValue),
    ]
    var members = own.merging(Describe.members(of: info.scheme)) { first, _ in first }
    let statistics = info.statistics
    members["max_abs_error"] = .number(statistics.maxAbsError)
    // Codes of the log map have no scales.
    members["max_scaled_error"] = info.scheme?.map == .log ? .null : .number(statistics.maxScaledError)
    members["rel_l2_error"] = .number(statistics.relativeL2Error)
    members["zeros_created"] = .count(statistics.zerosCreated)
    members["sign_changes"] = .count(statistics.signChanges)
    members["guaranteed_max_abs_error"] = .optional(info.guaranteedMaxAbsError)
    members["guaranteed_max_rel_error"] = .optional(info.guaranteedMaxRelError)
    let second = info.reference ?? pairs[index]?.second
    members["second_moment"] = second.map { .string(reader.tensor($0).name) } ?? .null
    members["update_error"] = pairs[index].map { .update($0.error, pairs: 1) } ?? .null
    if let histogram {
      members["codes"] = .object([
        "entropy": .number(histogram.entropy), "histogram": .array(histogram.counts.map { .count($0) }),
      ])
    }
    return .object(members)
  }
}
