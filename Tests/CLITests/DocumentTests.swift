import QCheckpoint
import Testing

/// The keys of `--json`, which are API.
@Suite struct DocumentTests {
  private static let losslessRow: [String: Kind] = [
    "name": .string, "dtype": .string, "shape": .array, "role": .string, "encoding": .string, "map": .null,
    "bits": .null, "signed": .null, "scaling": .null, "block": .null, "domain": .null, "rounding": .null,
    "compression": .string, "source_bytes": .integer, "stored_bytes": .integer, "bits_per_value": .number,
    "max_abs_error": .number, "max_scaled_error": .number, "rel_l2_error": .number, "zeros_created": .integer,
    "sign_changes": .integer, "guaranteed_max_abs_error": .number,
  ]
  private static let quantizedRow = losslessRow.merging([
    "map": .string, "bits": .integer, "signed": .bool, "scaling": .string, "block": .integer, "domain": .string,
    "rounding": .string,
  ]) { $1 }

  @Test(arguments: Fixture.presets) func everyKeyIsThere(policy: String) throws {
    let work = try Workspace()
    var moments = [Tensor.noise("exp_avg/w", count: 16_384, seed: 7)]
    moments.append(.noise("exp_avg_sq/w", count: 16_384, seed: 8, signed: false))
    for index in moments.indices { moments[index].shape = [128, 128] }
    try work.write(safetensors(moments + [Tensor("step", [3])]), "in.safetensors")
    let encode = ["encode", "in.safetensors", "-o", "s.qckpt", "--policy", policy, "--json"]
    for options in [[], ["--dry-run"]] {
      expectMembers(
        try work.succeed(encode + options).json(),
        [
          "input_bytes": .integer, "output_bytes": .integer, "tensors": .integer, "elements": .integer,
          "ratio": .number, "seconds": .number,
        ])
    }
    let inspect = try work.succeed(["inspect", "s.qckpt", "--json"]).json()
    expectMembers(
      inspect,
      [
        "format_version": .string, "file_bytes": .integer, "tensor_count": .integer, "element_count": .integer,
        "source_bytes": .integer, "stored_bytes": .integer, "ratio": .number, "policy": .object, "metadata": .object,
        "tensors": .array,
      ])
    for row in try work.rows("s.qckpt") {
      let isLossless = row["encoding"]?.stringValue == "lossless"
      var kinds = isLossless ? Self.losslessRow : Self.quantizedRow
      if row["scaling"]?.stringValue == "rank1" { kinds["block"] = .null }
      if row["map"]?.stringValue == "log" { kinds["max_scaled_error"] = .null }
      expectMembers(row, kinds, "\(row["name"]?.stringValue ?? "")")
      #expect(isLossless || row["encoding"]?.stringValue == "quantized")
    }
    let verify = try work.succeed(["verify", "s.qckpt", "--json"]).json()
    expectMembers(verify, ["ok": .bool, "violations": .integer, "first_violation": .null, "tensors": .array])
    for row in verify["tensors"]?.arrayValue ?? [] {
      expectMembers(
        row,
        [
          "name": .string, "max_abs_error": .number, "rel_l2_error": .number, "violations": .integer,
          "guaranteed_max_abs_error": .number,
        ])
    }
  }

  @Test func totalsAreThoseOfTheRows() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    let document = try work.succeed(["inspect", "s.qckpt", "--json"]).json()
    let rows = try work.rows("s.qckpt")
    for key in ["source_bytes", "stored_bytes"] {
      #expect(document[key]?.integerValue == rows.reduce(0) { $0 + ($1[key]?.integerValue ?? 0) }, "\(key)")
    }
    let size = try work.read("s.qckpt").count
    #expect(document["file_bytes"] == .integer(Int64(size)))
    #expect(document["element_count"] == .integer(461_440))
    #expect(document["ratio"]?.doubleValue == 1_830_592 / Double(size))
    #expect(document["metadata"]?["optimizer"] == .string("AdamW"))
  }

  @Test func theViolationIsAnObject() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    try work.write(safetensors([Tensor("x", [1, 3])]), "value")
    try work.write(safetensors([]), "none")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    let element: [String: Kind] = [
      "tensor": .string, "index": .integer, "expected": .number, "got": .number, "bound": .number,
    ]
    let whole: [String: Kind] = ["tensor": .string, "index": .null, "expected": .null, "got": .null, "bound": .null]
    for (original, kinds) in [("value", element), ("none", whole)] {
      let outcome = try work.run(["verify", "s.qckpt", "--against", original, "--json"])
      #expect(outcome.status == 1)
      let document = try outcome.json()
      expectMembers(document, ["ok": .bool, "violations": .integer, "first_violation": .object, "tensors": .array])
      expectMembers(document["first_violation"], kinds, "\(original)")
    }
  }

  @Test func nothingOverNothingIsZero() throws {
    let work = try Workspace()
    let zeros = [Float](repeating: 0, count: 5000)
    let tensors = [Tensor("exp_avg", zeros), Tensor("exp_avg_sq", zeros), Tensor("empty", "F32", [0], [])]
    try work.write(safetensors(tensors), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    for row in try work.rows("s.qckpt", ["--codes"]) {
      for key in ["max_abs_error", "max_scaled_error", "rel_l2_error"] {
        // Codes of the log map have no scales.
        if key == "max_scaled_error", row["map"]?.stringValue == "log" { continue }
        #expect(row[key]?.doubleValue == 0, "\(row["name"]?.stringValue ?? "") \(key)")
      }
      if row["name"]?.stringValue == "empty" { #expect(row["bits_per_value"]?.doubleValue == 0) }
      if let codes = row["codes"] { #expect(codes["entropy"]?.doubleValue == 0) }
    }
    let verify = try work.succeed(["verify", "s.qckpt", "--against", "in", "--json"]).json()
    for row in verify["tensors"]?.arrayValue ?? [] { #expect(row["rel_l2_error"]?.doubleValue == 0) }
  }

  @Test func errorsLeaveStandardOutputEmpty() throws {
    let work = try Workspace()
    try work.fail(["inspect", "missing", "--json"], 4, "missing: cannot open: No such file or directory")
    try work.fail(["verify", "missing", "--json"], 4, "missing: cannot open: No such file or directory")
    try work.fail(["encode", "missing", "-o", "out", "--json"], 4, "missing: cannot open: No such file or directory")
  }
}
