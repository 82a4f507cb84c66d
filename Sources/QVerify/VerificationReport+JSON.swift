import QCheckpoint
import QCodec

extension VerificationReport {
  /// The report as `qcodec verify --json` prints it; README.md lists the keys.
  public var json: JSONValue {
    let first = firstViolation.map { violation in
      JSONValue.object([
        "tensor": .optional(violation.tensor), "index": violation.index.map { .count($0) } ?? .null,
        "expected": .optional(violation.expected), "got": .optional(violation.got),
        "bound": .optional(violation.bound), "reason": .string(violation.reason),
      ])
    }
    return .object([
      "ok": .bool(ok), "violations": .count(violations), "first_violation": first ?? .null,
      "update_error": updateError?.json(pairs: pairs) ?? .null,
      "tensors": .array(
        tensors.map { tensor in
          .object([
            "name": .string(tensor.name), "max_abs_error": .number(tensor.maxAbsError),
            "rel_l2_error": .number(tensor.relativeL2Error), "violations": .count(tensor.violations),
            "guaranteed_max_abs_error": .optional(tensor.guaranteedMaxAbsError),
            "recomputed_guarantee": .optional(tensor.recomputedGuarantee),
            "guaranteed_max_rel_error": .optional(tensor.guaranteedMaxRelError),
            "recomputed_rel_guarantee": .optional(tensor.recomputedRelGuarantee),
            "second_moment": .optional(tensor.secondMoment),
            "update_error": tensor.updateError?.json(pairs: 1) ?? .null,
          ])
        }),
    ])
  }
}

extension UpdateError {
  /// What coding did to the updates of some pairs of moments, as `--json` prints it.
  public func json(pairs: Int) -> JSONValue {
    .object([
      "pairs": .count(pairs), "rel_l2": .number(relativeL2Error), "max_abs": .number(maxAbsError),
      "v_zeroed": .count(zeroedSecondMoments), "sign_changes": .count(signChanges), "eps": .number(epsilon),
    ])
  }
}
