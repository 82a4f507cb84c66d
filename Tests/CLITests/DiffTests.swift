import Foundation
import QCheckpoint
import Testing

/// `qcodec diff`.
@Suite struct DiffTests {
  /// `a` and `b`, which have every kind of difference.
  private func prepared() throws -> Workspace {
    let work = try Workspace()
    let shared = [Tensor("equal", [1, 2]), Tensor("n", "I32", [2], [1, 0, 0, 0, 2, 0, 0, 0])]
    try work.write(
      safetensors(
        shared + [
          Tensor("far", [3, 4]), Tensor("near", [3, 4]), Tensor("gone", [1]), Tensor("shape", [1, 2]),
          Tensor("type", [1, 2]),
        ], metadata: ["step": "1"]), "a")
    try work.write(
      safetensors(
        [
          shared[0], Tensor("n", "I32", [2], [1, 0, 0, 0, 3, 0, 0, 0]), Tensor("far", [3, 5]),
          Tensor("near", [3, 4.5]), Tensor("new", [1]), Tensor("shape", "F32", [2, 1], littleEndian([1, 2])),
          Tensor("type", "F16", [2], [0, 0x3C, 0, 0x40]),
        ], metadata: ["step": "2"]), "b")
    return work
  }

  /// Runs `diff`, which is to end with a status and not a word on standard error.
  private func diff(
    _ work: Workspace, _ arguments: [String], _ status: Int32, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Outcome {
    let outcome = try work.run(["diff"] + arguments)
    #expect(outcome.status == status, "\(arguments)", sourceLocation: sourceLocation)
    #expect(outcome.errors == "", "\(arguments)", sourceLocation: sourceLocation)
    return outcome
  }

  private func words(_ line: String) -> String { line.split(separator: " ").joined(separator: " ") }

  @Test func theWorstComesFirst() throws {
    let work = try prepared()
    let lines = try diff(work, ["a", "b"], 1).lines
    #expect(
      lines.map(words) == [
        "tensor change dtype shape rel L2 max abs cosine differ",
        // What has no distance, by name.
        "gone removed F32 1", "n changed I32 2 1", "new added F32 1",
        "far changed F32 2 2.00e-01 1.00e+00 0.994692 1", "near changed F32 2 1.00e-01 5.00e-01 0.998460 1",
        "shape reshaped F32 2 -> 2x1 0 0 1.000000 0", "type retyped F32 -> F16 2 0 0 1.000000 0",
        "metadata differ: step",
        "a (safetensors) and b (safetensors) differ: of 8 tensors 3 changed, 1 added, 1 removed, 1 reshaped, 1 retyped; "
          + "largest relative L2 2.00e-01 (tensor 'far')",
      ])
    #expect(Set(lines[1...7].map { $0.firstIndex(of: " ") }).count > 1)
    #expect(Set(lines[..<8].map(\.count)).count == 1)
    let all = try diff(work, ["a", "b", "--all"], 1).lines
    #expect(all.count == lines.count + 1)
    #expect(words(all[8]) == "equal equal F32 2 0 0 1.000000 0")
    #expect(try diff(work, ["a", "b", "--quiet"], 1).text == "")
  }

  @Test func equalFilesAreEqual() throws {
    let work = try prepared()
    #expect(try diff(work, ["a", "a"], 0).text == "a and a are equal: 7 tensors, bit for bit\n")
    #expect(try diff(work, ["a", "a", "--quiet"], 0).text == "")
    #expect(try diff(work, ["a", "a", "--all"], 0).lines.count == 9)
    let document = try diff(work, ["a", "a", "--json"], 0).json()
    #expect(document["equal"] == .bool(true) && document["tensors"] == .array([]))
    #expect(try diff(work, ["a", "a", "--json", "--all"], 0).json()["tensors"]?.arrayValue?.count == 7)
    #expect(try work.run(["diff", "-", "a"], input: "a").status == 0)
    #expect(try work.run(["diff", "b", "-"], input: "a").status == 1)
  }

  @Test func limitsExcuseAndStillReport() throws {
    let work = try prepared()
    let only = ["--tensor", "far", "--tensor", "near", "--tensor", "e*"]
    let lines = try diff(work, ["a", "b", "--max-rel-l2", "0.2"] + only, 0).lines
    #expect(lines.count == 5)
    #expect(lines[4].hasPrefix("a (safetensors) and b (safetensors) differ within the limits: of 3 tensors 2 changed;"))
    _ = try diff(work, ["a", "b", "--max-rel-l2", "0.15"] + only, 1)
    _ = try diff(work, ["a", "b", "--max-abs", "1"] + only, 0)
    _ = try diff(work, ["a", "b", "--max-abs", "1", "--max-rel-l2", "0.1"] + only, 1)
    let document = try diff(work, ["a", "b", "--json", "--max-abs", "0.5"] + only, 1).json()
    #expect(document["equal"] == .bool(false) && document["within_limits"] == .bool(false))
    let within = document["tensors"]?.arrayValue?.map { $0["within_limits"] }
    #expect(within == [.bool(false), .bool(true)])
    // Names, shapes, dtypes and integers are excused by nothing.
    for name in ["gone", "new", "shape", "type", "n"] {
      _ = try diff(work, ["a", "b", "--max-abs", "9", "--max-rel-l2", "9", "--tensor", name], 1)
    }
  }

  @Test func everyKeyIsThere() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "8.qckpt"])
    try work.succeed(["encode", "in.safetensors", "-o", "4.qckpt", "--policy", "adam4"])
    let document = try diff(work, ["8.qckpt", "4.qckpt", "--json"], 1).json()
    let kinds: [String: Kind] = [
      "equal": .bool, "within_limits": .null, "tensor_count": .integer, "counts": .object, "rel_l2": .number,
      "max_abs": .number, "cosine": .number, "update": .object, "metadata": .array, "document_members": .array,
      "tensors": .array,
    ]
    expectMembers(document, kinds)
    #expect(document.objectValue?.count == kinds.count)
    expectMembers(document["update"], ["pairs": .integer, "rel_l2": .number, "max_abs": .number, "eps": .number])
    #expect(document["update"]?["pairs"] == .integer(5))
    #expect(document["document_members"] == .array([.string("policy")]))
    #expect(
      document["counts"]
        == .object([
          "equal": .integer(7), "changed": .integer(6), "added": .integer(0), "removed": .integer(0),
          "reshaped": .integer(0), "retyped": .integer(0),
        ]))
    let row: [String: Kind] = [
      "name": .string, "change": .string, "a": .object, "b": .object, "schemes_differ": .bool,
      "elements_differ": .integer, "rel_l2": .number, "max_abs": .number, "cosine": .number, "within_limits": .null,
      "second_moment": .null, "update": .null,
    ]
    let rows = try #require(document["tensors"]?.arrayValue)
    #expect(rows.count == 6)
    for tensor in rows {
      let isFirst = tensor["name"]?.stringValue?.hasPrefix("exp_avg/") == true
      expectMembers(tensor, row.merging(isFirst ? ["second_moment": .string, "update": .object] : [:]) { $1 })
      #expect(tensor.objectValue?.count == row.count)
      expectMembers(tensor["a"], ["dtype": .string, "shape": .array, "scheme": .object])
      #expect(tensor["a"]?["scheme"]?["bits"] == .integer(8) && tensor["b"]?["scheme"]?["bits"] == .integer(4))
    }
    let names = rows.compactMap { $0["name"]?.stringValue }
    #expect(names == names.sorted())
    let lines = try diff(work, ["8.qckpt", "4.qckpt"], 1).lines
    #expect(lines.contains("6 tensors stored under other schemes"))
    #expect(lines.contains("metadata differ: the document's policy"))
    #expect(lines.contains { $0.hasPrefix("update m/(√v + 1e-08) of 5 pairs of moments: relative L2 ") })
  }

  @Test func whatDoesNotApplyIsNull() throws {
    let work = try prepared()
    try work.write(safetensors([Tensor("far", [3, .infinity]), Tensor("near", [0, 0])]), "c")
    let document = try diff(work, ["c", "a", "--json"], 1).json()
    #expect(document["max_abs"] == .null && document["rel_l2"] == .null)
    #expect(document["document_members"] == .null && document["update"] == .null)
    let rows = try #require(document["tensors"]?.arrayValue)
    let byName = Dictionary(uniqueKeysWithValues: rows.map { ($0["name"]?.stringValue ?? "", $0) })
    // Infinite, and of a tensor that is zero throughout.
    #expect(byName["far"]?["rel_l2"] == .null && byName["far"]?["max_abs"] == .null)
    #expect(byName["near"]?["cosine"] == .null && byName["near"]?["max_abs"]?.doubleValue == 4)
    for key in ["a", "schemes_differ", "elements_differ", "rel_l2", "max_abs", "cosine", "update", "second_moment"] {
      #expect(byName["gone"]?[key] == .null, "\(key)")
    }
    #expect(byName["gone"]?["b"]?["scheme"] == .null)
  }

  @Test func kindsOfFilesMayBeMixed() throws {
    let work = try Workspace()
    let tensors = [Tensor("w", [1, 2.5, -3]), Tensor("z", [0])]
    try work.write(safetensors(tensors), "s.safetensors")
    try work.write(zip(tensors.map { ($0.name + ".npy", npy($0.values, shape: "(\($0.shape[0]),)")) }), "z.npz")
    try work.succeed(["encode", "s.safetensors", "-o", "s.qckpt"])
    try work.write(safetensors([tensors[0]]), "1")
    try work.write(safetensors([tensors[1]]), "2")
    try work.write(#"{"metadata": {}, "weight_map": {"w": "1", "z": "2"}}"#, "i.json")
    let files = ["s.safetensors", "z.npz", "s.qckpt", "i.json"]
    for a in files { for b in files { _ = try diff(work, [a, b], 0) } }
    try work.write(npy(tensors[0].values, shape: "(3,)"), "w.npy")
    for file in files {
      _ = try diff(work, [file, "w.npy", "--tensor", "w"], 0)
      #expect(try diff(work, [file, "w.npy", "--json"], 1).json()["counts"]?["removed"] == .integer(1))
    }
  }

  @Test func tenThousandTensorsAreTwentyLines() throws {
    let work = try Workspace()
    func file(_ value: (Int) -> Float) -> [UInt8] {
      safetensors((0..<10_000).map { Tensor("layer.\($0).w", [Float($0 + 1), value($0)]) })
    }
    try work.write(file { _ in 1 }, "a")
    try work.write(file { $0 % 2 == 0 ? 1 : 2 }, "b")
    let lines = try diff(work, ["a", "b"], 1).lines
    #expect(lines.count == 23)
    // A step of 1 beside the length of (i + 1, 1).
    #expect(lines[1...20].map { String($0.prefix { $0 != " " }) } == (0..<20).map { "layer.\(2 * $0 + 1).w" })
    #expect(lines[21] == "and 4980 more that differ; --all lists them")
    #expect(lines[22].contains(" differ: of 10000 tensors 5000 changed; largest relative L2 4.47e-01 "))
    #expect(try diff(work, ["a", "b", "--all"], 1).lines.count == 10_002)
    #expect(try diff(work, ["a", "b", "--json"], 1).json()["tensors"]?.arrayValue?.count == 5000)
  }

  @Test func threadsDoNotChangeTheResult() throws {
    let work = try Workspace()
    let tensors = (0..<2).map { Tensor.noise("exp_avg", count: 600_000, seed: UInt64($0)) }
    for (name, tensor) in zip(["a", "b"], tensors) { try work.write(safetensors([tensor]), name) }
    let one = try diff(work, ["a", "b", "--json", "--threads", "1"], 1)
    #expect(try diff(work, ["a", "b", "--json", "--threads", "4"], 1).bytes == one.bytes)
  }

  @Test func badFilesAreNamed() throws {
    let work = try prepared()
    try work.write("nonsense", "bad")
    let kind = "the file is none of safetensors, safetensors index, .npy, .npz and .qckpt (byte 0)"
    try work.fail(["diff", "a", "bad"], 3, "bad: \(kind)")
    try work.fail(["diff", "bad", "a"], 3, "bad: \(kind)")
    try work.fail(["diff", "a", "missing"], 4, "missing: cannot open: No such file or directory")
    try work.fail(["diff", "missing", "a"], 4, "missing: cannot open: No such file or directory")
    // A damaged chunk is an error of its file, on either side.
    try work.write(safetensors([.noise("x", count: 100_000, seed: 5)]), "x")
    try work.succeed(["encode", "x", "-o", "x.qckpt", "--policy", "lossless", "--compression", "none"])
    var bytes = try work.read("x.qckpt")
    bytes[2000] ^= 1
    try work.write(bytes, "x.qckpt")
    for arguments in [["x", "x.qckpt"], ["x.qckpt", "x"]] {
      let outcome = try work.run(["diff"] + arguments + ["--json"])
      #expect(outcome.status == 3 && outcome.text == "")
      #expect(outcome.errors.hasPrefix("qcodec: x.qckpt: a chunk's checksum is wrong: "))
    }
  }

  @Test func usageIsRefused() throws {
    let work = try prepared()
    let help = "; see 'qcodec diff --help'"
    for (arguments, line) in [
      (["a"], "Missing expected argument '<b>'" + help), (["a", "b", "c"], "Unexpected argument 'c'" + help),
      (["-", "-"], "standard input can be read once" + help),
      (["a", "b", "--max-abs=-1"], "a limit is to be 0 or more" + help),
      (["a", "b", "--max-rel-l2", "nan"], "a limit is to be 0 or more" + help),
      (["a", "b", "--eps=-1"], "--eps is to be 0 or more" + help),
      (["a", "b", "--threads", "0"], "--threads is to be 1 to 1024" + help),
      (["a", "b", "--tensor", "["], "the glob '[' holds a '[' without its ']'"),
      (["a", "b", "--tensor", "q*"], "a and b: no tensor matches q*"),
    ] {
      try work.fail(["diff"] + arguments, 2, line)
    }
    // One side is enough.
    _ = try diff(work, ["a", "b", "--tensor", "new"], 1)
    let text = try work.succeed(["diff", "--help"]).text
    #expect(text.contains("USAGE: qcodec diff ") && text.contains("EXAMPLES:"))
  }
}
