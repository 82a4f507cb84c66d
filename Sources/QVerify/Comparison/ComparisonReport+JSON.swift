import QCheckpoint
import QCodec

extension ComparisonReport {
  /// The report as `qcodec diff --json` prints it; README.md lists the keys.
  ///
  /// - Parameter includesEqual: whether equal tensors are listed as well.
  public func json(includesEqual: Bool = false) -> JSONValue {
    let listed = includesEqual ? tensors : tensors.filter { $0.change != .equal }
    let counts = Change.allCases.map { ($0.rawValue, JSONValue.count(count($0))) }
    return .object([
      "equal": .bool(isEqual), "within_limits": limits == nil ? .null : .bool(isWithinLimits),
      "tensor_count": .count(tensors.count), "counts": .object(Dictionary(uniqueKeysWithValues: counts)),
      "rel_l2": .number(distance.relativeL2), "max_abs": .number(distance.maxAbs),
      "cosine": .optional(distance.cosine), "update": pairs == 0 ? .null : update.distance(pairs: pairs),
      "metadata": .array(
        metadata.map { .object(["key": .string($0.key), "a": $0.a ?? .null, "b": $0.b ?? .null]) }),
      "document_members": documentMembers.map { .array($0.map { .string($0) }) } ?? .null,
      "tensors": .array(listed.map { json($0) }),
    ])
  }

  private func json(_ tensor: Tensor) -> JSONValue {
    .object([
      "name": .string(tensor.name), "change": .string(tensor.change.rawValue), "a": Self.json(tensor.a),
      "b": Self.json(tensor.b), "schemes_differ": tensor.schemesDiffer.map { .bool($0) } ?? .null,
      "elements_differ": tensor.differing.map { .count($0) } ?? .null,
      "rel_l2": .optional(tensor.distance?.relativeL2), "max_abs": .optional(tensor.distance?.maxAbs),
      "cosine": .optional(tensor.distance?.cosine),
      "within_limits": limits.map { .bool(tensor.isWithin($0)) } ?? .null,
      "second_moment": .optional(tensor.secondMoment), "update": tensor.update?.distance(pairs: 1) ?? .null,
    ])
  }

  private static func json(_ form: Form?) -> JSONValue {
    guard let form else { return .null }
    return .object([
      "dtype": .string(form.dtype.name), "shape": .array(form.shape.map { .count($0) }),
      "scheme": form.scheme.map { .object(CheckpointSummary.members(of: $0)) } ?? .null,
    ])
  }
}

extension UpdateError {
  /// The distance of updates as `--json` prints it.
  fileprivate func distance(pairs: Int) -> JSONValue {
    .object([
      "pairs": .count(pairs), "rel_l2": .number(relativeL2Error), "max_abs": .number(maxAbsError),
      "eps": .number(epsilon),
    ])
  }
}
