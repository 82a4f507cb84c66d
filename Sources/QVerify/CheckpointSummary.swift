import QCheckpoint
import QCodec

/// What a checkpoint holds, by its directory and metadata alone.
public struct CheckpointSummary: Sendable {
  /// The checkpoint.
  public let reader: CheckpointReader
  /// The policy that chose the schemes, where it is recorded.
  public let policy: JSONValue?
  /// The bound that every element was to keep, as the file tells it; nil without one.
  public let errorBound: JSONValue?
  /// What the user says of the file.
  public let metadata: JSONValue
  /// The base that it refers to, as `base(of:_:)` describes it.
  public let base: JSONValue
  /// Elements of all tensors.
  public let elements: UInt64
  /// Bytes of all tensors as given.
  public let sourceBytes: UInt64
  /// Bytes of all chunks as stored.
  public let storedBytes: UInt64
  /// Pairs whose update error was measured, by their first moments.
  public let pairs: [Int: (second: Int, error: UpdateError)]

  /// Reads the metadata; throws as `CheckpointReader.metadata()`.
  public init(_ reader: CheckpointReader) throws(QCodecError) {
    let document = try reader.metadata()
    self.reader = reader
    policy = document["policy"]
    errorBound = document[RequestedBound.member]
    base = Self.base(of: reader, document)
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
  public var updateError: UpdateError? {
    let measured = reader.measuredPairs
    guard let epsilon = measured.first?.error.epsilon else { return nil }
    return measured.reduce(into: UpdateError(epsilon: epsilon)) { $0.append($1.error) }
  }

  /// Bytes of all tensors over those of the file.
  public var ratio: Double { Double(sourceBytes) / Double(reader.fileBytes) }

  /// The document of `qcodec inspect --json`; README.md lists the keys.
  ///
  /// - Parameters:
  ///   - indices: the tensors to describe; nil for all.
  ///   - histograms: of codes, by tensor.
  public func json(indices: [Int]? = nil, histograms: [Int: CodeHistogram] = [:]) -> JSONValue {
    let version = reader.formatVersion
    return .object([
      "format_version": .string("\(version.major).\(version.minor)"), "file_bytes": .count(reader.fileBytes),
      "tensor_count": .count(reader.tensorCount), "element_count": .count(elements),
      "source_bytes": .count(sourceBytes), "stored_bytes": .count(storedBytes), "ratio": .number(ratio),
      "policy": policy ?? .null, "error_bound": errorBound ?? .null, "metadata": metadata, "base": base,
      "update_error": updateError?.json(pairs: pairs.count) ?? .null,
      "tensors": .array((indices ?? Array(0..<reader.tensorCount)).map { tensor($0, histogram: histograms[$0]) }),
    ])
  }

  /// The base that a checkpoint refers to, as `qcodec inspect --json` prints it: its digest, its place by the metadata, and
  /// whether it was found; null for one that stands alone.
  public static func base(of reader: CheckpointReader, _ metadata: JSONValue) -> JSONValue {
    guard let digest = reader.baseDigest else { return .null }
    return .object([
      "digest": .string(digest.description), "name": .optional(metadata["base"]?["name"]?.stringValue),
      "found": .bool(reader.base != nil),
    ])
  }

  private func tensor(_ index: Int, histogram: CodeHistogram?) -> JSONValue {
    let info = reader.tensor(index)
    let own: [String: JSONValue] = [
      "name": .string(info.name), "dtype": .string(info.dtype.name), "shape": .array(info.shape.map { .count($0) }),
      "role": .string(info.role.name), "reason": .optional(info.reason.name),
      "compression": .string(Self.compression(info)), "source_bytes": .count(info.sourceBytes),
      "stored_bytes": .count(info.storedBytes), "bits_per_value": .number(info.bitsPerValue),
      "escape_bytes": .count(info.escapeBytes),
      "base_chunks": .count(info.baseChunks), "difference_chunks": .count(info.differenceChunks),
    ]
    var members = own.merging(Self.members(of: info.scheme)) { first, _ in first }
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
    members["second_moment"] = .optional(second.map { reader.tensor($0).name })
    members["update_error"] = pairs[index]?.error.json(pairs: 1) ?? .null
    if let histogram {
      members["codes"] = .object([
        "entropy": .number(histogram.entropy), "histogram": .array(histogram.counts.map { .count($0) }),
      ])
    }
    return .object(members)
  }

  /// The keys of `--json` that describe how a tensor is encoded.
  public static func members(of scheme: Scheme?) -> [String: JSONValue] {
    var block = JSONValue.null
    if case .block(let size)? = scheme?.scaling { block = .count(size) }
    return [
      "encoding": .string(scheme == nil ? "lossless" : "quantized"), "map": .optional(scheme?.map.name),
      "bits": scheme.map { .count($0.bits) } ?? .null, "signed": scheme.map { .bool($0.signed) } ?? .null,
      "scaling": .optional(scheme?.scaling.name), "block": block, "domain": .optional(scheme?.domain.name),
      "rounding": .optional(scheme?.rounding.name), "scale_rule": .optional(scheme?.scaleRule.name),
    ]
  }

  /// The lossless stages of a tensor's chunks: the one that helped anywhere.
  private static func compression(_ info: TensorInfo) -> String {
    (info.compressions.max { $0.rawValue < $1.rawValue } ?? .none).name
  }
}
