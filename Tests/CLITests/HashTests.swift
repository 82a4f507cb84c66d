import QCheckpoint
import Testing

/// `qcodec hash`.
@Suite struct HashTests {
  private let tensors = [
    Tensor("w", [1, 2.5, -3]), Tensor("n", "I64", [2, 0], []), Tensor("scalar", "BOOL", [], [1]),
  ]

  private func prepared() throws -> Workspace {
    let work = try Workspace()
    try work.write(safetensors(tensors, metadata: ["step": "1"]), "s.safetensors")
    try work.succeed(["encode", "s.safetensors", "-o", "s.qckpt", "--quiet"])
    return work
  }

  /// The columns of a line.
  private func columns(_ line: String) -> [String] {
    line.split(separator: "  ", maxSplits: 2).flatMap { $0.split(separator: "\t") }.map(String.init)
  }

  @Test func linesAreHashesAndNames() throws {
    let work = try prepared()
    let lines = try work.succeed(["hash", "s.safetensors", "s.qckpt"]).lines.map(columns)
    #expect(lines.count == 8)
    #expect(lines.prefix(4).map { $0[2] } == Array(repeating: "s.safetensors", count: 4))
    #expect(lines.suffix(4).map { $0[2] } == Array(repeating: "s.qckpt", count: 4))
    for part in [lines.prefix(4), lines.suffix(4)] {
      #expect(part.map { $0.count == 4 ? $0[3] : "" } == ["", "n", "scalar", "w"])
    }
    // Values are the same, whatever holds them; only a checkpoint has stored bytes.
    #expect(lines.prefix(4).map { $0[0] } == lines.suffix(4).map { $0[0] })
    #expect(lines.prefix(4).allSatisfy { $0[1] == "-" })
    #expect(lines.suffix(4).allSatisfy { $0[1].count == 32 && $0[1].allSatisfy(\.isHexDigit) })
    #expect(Set(lines.prefix(4).map { $0[0] }).count == 4)
    // That of Spec/Hashes.md.
    #expect(lines[1][0] == "4498d4f38552d1930fc79a39d7840720")
    let values = try work.succeed(["hash", "s.qckpt", "--values"]).lines.map(columns)
    #expect(values.map { $0[0] } == lines.suffix(4).map { $0[0] } && values.allSatisfy { $0[1] == "-" })
    let one = try work.succeed(["hash", "s.qckpt", "--tensor", "[nw]"]).lines.map(columns)
    #expect(one == [lines[5], lines[7]])
    #expect(try work.run(["hash", "-"], input: "s.qckpt").lines.map(columns).map { $0[2] } == ["-", "-", "-", "-"])
  }

  @Test func everyKeyIsThere() throws {
    let work = try prepared()
    let document = try work.succeed(["hash", "s.qckpt", "s.safetensors", "--json"]).json()
    #expect(document["algorithm"] == .string("XXH3-128"))
    let files = try #require(document["files"]?.arrayValue)
    #expect(files.count == 2)
    let kinds: [String: Kind] = [
      "file": .string, "kind": .string, "values": .string, "stored": .string, "tensors": .array,
    ]
    expectMembers(files[0], kinds)
    expectMembers(files[1], kinds.merging(["stored": .null]) { $1 })
    #expect(files.allSatisfy { $0.objectValue?.count == kinds.count })
    let row: [String: Kind] = [
      "name": .string, "dtype": .string, "shape": .array, "values": .string, "stored": .string,
    ]
    for tensor in files[0]["tensors"]?.arrayValue ?? [] {
      expectMembers(tensor, row)
      #expect(tensor.objectValue?.count == row.count)
    }
    for tensor in files[1]["tensors"]?.arrayValue ?? [] { expectMembers(tensor, row.merging(["stored": .null]) { $1 }) }
    // The document says what the lines say.
    let lines = try work.succeed(["hash", "s.qckpt"]).lines.map(columns)
    let rows = try #require(files[0]["tensors"]?.arrayValue)
    #expect(files[0]["values"] == .string(lines[0][0]) && files[0]["stored"] == .string(lines[0][1]))
    #expect(rows.map { $0["values"] } == lines.dropFirst().map { .string($0[0]) })
    #expect(rows.map { $0["stored"] } == lines.dropFirst().map { .string($0[1]) })
    let part = try work.succeed(["hash", "s.qckpt", "--json", "--tensor", "w"]).json()["files"]?.arrayValue?.first
    #expect(part?["values"] == .null && part?["stored"] == .null && part?["tensors"]?.arrayValue?.count == 1)
  }

  // MARK: Manifests

  @Test func aManifestIsChecked() throws {
    let work = try prepared()
    try work.write(work.succeed(["hash", "s.safetensors", "s.qckpt"]).bytes, "m")
    #expect(try work.succeed(["hash", "--check", "m"]).text == "s.safetensors: ok, 4 lines\ns.qckpt: ok, 4 lines\n")
    #expect(try work.succeed(["hash", "--check", "m", "--quiet"]).text == "")
    #expect(try work.run(["hash", "--check", "-"], input: "m").status == 0)
    let document = try work.succeed(["hash", "--check", "m", "--json"]).json()
    #expect(document == .object(["ok": .bool(true), "checked": .integer(8), "mismatches": .array([])]))
    // A value that changed, and with it the file.
    var changed = tensors
    changed[0].bytes[0] = 1
    try work.write(safetensors(changed), "s.safetensors")
    let outcome = try work.run(["hash", "--check", "m"])
    #expect(outcome.status == 1 && outcome.text == "s.qckpt: ok, 4 lines\n")
    #expect(
      outcome.errors == """
        qcodec: s.safetensors: the tensors are not those of the manifest
        qcodec: s.safetensors: the values are not those of the manifest (tensor 'w')

        """)
    let failed = try work.run(["hash", "--check", "m", "--json"])
    #expect(failed.status == 1)
    let mismatches = try #require(try failed.json()["mismatches"]?.arrayValue)
    #expect(try failed.json()["ok"] == .bool(false) && mismatches.count == 2)
    expectMembers(
      mismatches[1], ["file": .string, "tensor": .string, "hash": .string, "expected": .string, "got": .string])
    expectMembers(mismatches[0], ["tensor": .null])
    #expect(mismatches[1]["hash"] == .string("values") && mismatches[1]["tensor"] == .string("w"))
  }

  @Test func storedBytesAreCheckedUnlessValuesAreMeant() throws {
    let work = try Workspace()
    try work.write(safetensors([.noise("w", count: 100_000, seed: 3)]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "lossless", "--compression", "none"])
    try work.write(work.succeed(["hash", "s.qckpt"]).bytes, "m")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "lossless", "--compression", "zstd"])
    let outcome = try work.run(["hash", "--check", "m"])
    #expect(outcome.status == 1 && outcome.text == "")
    #expect(
      outcome.errors == """
        qcodec: s.qckpt: the stored bytes are not those of the manifest
        qcodec: s.qckpt: the stored bytes are not those of the manifest (tensor 'w')

        """)
    #expect(try work.succeed(["hash", "--check", "m", "--values"]).text == "s.qckpt: ok, 2 lines\n")
  }

  @Test func tensorsThatCameOrWentAreTold() throws {
    let work = try prepared()
    try work.write(work.succeed(["hash", "s.safetensors"]).bytes, "whole")
    try work.write(work.succeed(["hash", "s.safetensors", "--tensor", "*"]).bytes, "part")
    try work.write(safetensors(tensors + [Tensor("new", [1])]), "s.safetensors")
    try work.fail(["hash", "--check", "whole"], 1, "s.safetensors: the tensors are not those of the manifest")
    #expect(try work.succeed(["hash", "--check", "part"]).text == "s.safetensors: ok, 3 lines\n")
    try work.write(safetensors(Array(tensors.dropFirst())), "s.safetensors")
    try work.fail(
      ["hash", "--check", "part"], 1, "s.safetensors: the tensor of the manifest is not there (tensor 'w')")
  }

  @Test func namesOfAnyKindComeBack() throws {
    let work = try Workspace()
    let names = [
      "a\nb", "tab\there", #"back\slash"#, #"\n"#, "  two  spaces ", "\u{1B}[1m", "e\u{301}", "\\\u{301}",
    ]
    let file = " odd  name\\"
    try work.write(safetensors(names.enumerated().map { Tensor($1, [Float($0)]) }), file)
    let outcome = try work.succeed(["hash", file])
    #expect(outcome.lines.count == names.count + 1)
    #expect(outcome.text.unicodeScalars.allSatisfy { $0.value >= 0x20 || $0 == "\n" || $0 == "\t" })
    try work.write(outcome.bytes, "m")
    #expect(try work.succeed(["hash", "--check", "m"]).lines == [" odd  name\\: ok, 9 lines"])
  }

  @Test func whatIsNoManifestIsRefused() throws {
    let work = try prepared()
    let good = try work.succeed(["hash", "s.qckpt"]).lines[0]
    let hash = String(good.prefix(32))
    for (text, line) in [
      ("", "the manifest is empty"), ("\n\n", "the manifest is empty"),
      ("\(good)\nx\n", "line 2 is none of a manifest"),
      ("\n\(good)\n\n\(hash)  -\n", "line 4 is none of a manifest"),
      ("\(hash) - s.qckpt", "line 1 is none of a manifest"),
      ("\(hash)  -  ", "line 1 is none of a manifest"), ("\(hash)  x  s.qckpt", "line 1 is none of a manifest"),
      ("\(hash.uppercased())A  -  s.qckpt", "line 1 is none of a manifest"),
      ("\(hash)  -  s\ta\tb", "line 1 is none of a manifest"), ("\(hash)  -  s\\q", "line 1 is none of a manifest"),
      ("\(hash)  -  s\\u{110000}", "line 1 is none of a manifest"),
      ("\(hash)  -  s\\u{41", "line 1 is none of a manifest"), ("\(hash)  -  s\\", "line 1 is none of a manifest"),
    ] {
      try work.write(text, "m")
      try work.fail(["hash", "--check", "m"], 3, "m: \(line)")
    }
    try work.write([0xFF, 0xFE], "m")
    try work.fail(["hash", "--check", "m"], 3, "m: the manifest is not UTF-8")
    try work.fail(["hash", "--check", "missing"], 4, "missing: cannot open: No such file or directory")
    try work.write("\(hash)  -  missing\n", "m")
    try work.fail(["hash", "--check", "m"], 4, "missing: cannot open: No such file or directory")
    try work.write("\(hash)  -  m\n", "m")
    try work.fail(
      ["hash", "--check", "m"], 3,
      "m: the file is none of safetensors, safetensors index, .npy, .npz and .qckpt (byte 0)")
  }

  // MARK: Files

  @Test func badFilesAndUsageAreRefused() throws {
    let work = try prepared()
    let help = "; see 'qcodec hash --help'"
    try work.write("nonsense", "bad")
    for (arguments, status, line) in [
      (["bad"], 3, "bad: the file is none of safetensors, safetensors index, .npy, .npz and .qckpt (byte 0)"),
      (["missing"], 4, "missing: cannot open: No such file or directory"),
      ([], 2, "Missing expected argument '<files> ...'" + help),
      (["-", "-"], 2, "standard input can be read once" + help),
      (["s.qckpt", "--check", "--tensor", "w"], 2, "--tensor does not go with --check" + help),
      (["s.qckpt", "--quiet"], 2, "--quiet goes with --check" + help),
      (["s.qckpt", "--threads", "0"], 2, "--threads is to be 1 to 1024" + help),
      (["s.qckpt", "--tensor", "q*"], 2, "s.qckpt: no tensor matches q*"),
    ] as [([String], Int32, String)] {
      try work.fail(["hash"] + arguments, status, line)
    }
    let text = try work.succeed(["hash", "--help"]).text
    #expect(text.contains("USAGE: qcodec hash ") && text.contains("EXAMPLES:"))
  }

  @Test func tenThousandTensorsAreALineEach() throws {
    let work = try Workspace()
    try work.write(safetensors((0..<10_000).map { Tensor("t.\($0)", "U8", [1], [UInt8($0 % 256)]) }), "in")
    let outcome = try work.succeed(["hash", "in"])
    #expect(outcome.lines.count == 10_001)
    #expect(Set(outcome.lines.dropFirst().map { $0.prefix(32) }).count == 256)
    try work.write(outcome.bytes, "m")
    #expect(try work.succeed(["hash", "--check", "m"]).text == "in: ok, 10001 lines\n")
  }
}
