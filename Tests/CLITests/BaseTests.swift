import QCheckpoint
import Testing

/// `encode --base`, `flatten`, and what reads checkpoints that have a base.
@Suite struct BaseTests {
  private static let still = Tensor.noise("still", count: 20_000, seed: 1)

  /// The state of a step: parameters of which a few moved, moments, and what never changes.
  private static func state(_ step: Int) -> [Tensor] {
    var values = Tensor.noise("params", count: 20_000, seed: 2).values
    for place in 0..<500 { values[place] = values[place].nextUp * (step == 0 ? 1 : 1 + Float(step) * 0x1p-20) }
    return [
      still, Tensor("params", values), Tensor.noise("exp_avg.w", count: 5000, seed: UInt64(10 + step)),
      Tensor.noise("exp_avg_sq.w", count: 5000, seed: 3, signed: false),
    ]
  }

  /// Three steps, of which the second refers to the first and the third to the second.
  private func prepared() throws -> Workspace {
    let work = try Workspace()
    for step in 0..<3 {
      try work.write(safetensors(Self.state(step), metadata: ["step": "\(step)"]), "s\(step).safetensors")
    }
    try work.succeed(["encode", "s0.safetensors", "-o", "s0.qckpt", "--quiet"])
    for step in 1..<3 {
      let base = "s\(step - 1).qckpt"
      try work.succeed(["encode", "s\(step).safetensors", "-o", "s\(step).qckpt", "--base", base, "--quiet"])
      try work.succeed(["encode", "s\(step).safetensors", "-o", "whole\(step).qckpt", "--quiet"])
    }
    return work
  }

  @Test func aDeltaIsSmallerAndHoldsTheSame() throws {
    let work = try prepared()
    for step in 1..<3 {
      #expect(try work.read("s\(step).qckpt").count < work.read("whole\(step).qckpt").count / 2)
      for name in ["s\(step)", "whole\(step)"] {
        try work.succeed(["decode", "\(name).qckpt", "-o", "\(name).st", "--quiet"])
      }
      #expect(try work.read("s\(step).st") == work.read("whole\(step).st"))
      try work.succeed(["verify", "s\(step).qckpt", "--against", "s\(step).safetensors", "--quiet"])
      try work.succeed(["diff", "s\(step).qckpt", "whole\(step).qckpt", "--quiet"])
      let hashes = try ["s\(step).qckpt", "whole\(step).qckpt"].map {
        try work.succeed(["hash", $0, "--values"]).lines
      }
      #expect(hashes[0].map { $0.prefix(32) } == hashes[1].map { $0.prefix(32) })
    }
    try work.succeed(["report", "s2.qckpt", "-o", "r.html", "--quiet"])
    // A delta is an input like any other.
    try work.succeed(["encode", "s2.qckpt", "-o", "again.qckpt", "--policy", "lossless", "--quiet"])
  }

  @Test(arguments: ["none", "lz4", "zstd"]) func flattenedFilesAreThoseOfEncode(compression: String) throws {
    let work = try prepared()
    let options = ["--compression", compression, "--quiet"]
    try work.succeed(["encode", "s0.safetensors", "-o", "b.qckpt"] + options)
    try work.succeed(["encode", "s1.safetensors", "-o", "d.qckpt", "--base", "b.qckpt"] + options)
    try work.succeed(["encode", "s1.safetensors", "-o", "w.qckpt"] + options)
    for threads in ["1", "3"] {
      let outcome = try work.succeed(["flatten", "d.qckpt", "-o", "f.qckpt", "--threads", threads, "--json"])
      #expect(try work.read("f.qckpt") == work.read("w.qckpt"))
      expectMembers(
        try outcome.json(),
        [
          "input_bytes": .integer, "output_bytes": .integer, "chunks": .integer, "base_chunks": .integer,
          "difference_chunks": .integer, "bases": .integer,
        ])
    }
    #expect(try work.run(["flatten", "-", "-o", "-"], input: "d.qckpt").bytes == work.read("w.qckpt"))
    try work.succeed(["flatten", "w.qckpt", "-o", "same.qckpt", "--quiet"])
    #expect(try work.read("same.qckpt") == work.read("w.qckpt"))
  }

  @Test func wordsAndDocuments() throws {
    let work = try prepared()
    let encoded = try work.succeed(["encode", "s1.safetensors", "-o", "d.qckpt", "--base", "s0.qckpt"])
    #expect(encoded.text.hasSuffix("; 2 chunks are the base's, 1 differences to it\n"))
    let document = try work.succeed(["encode", "s1.safetensors", "-o", "d.qckpt", "--base", "s0.qckpt", "--json"])
      .json()
    #expect(document["base_chunks"] == .integer(2) && document["difference_chunks"] == .integer(1))
    let flattened = try work.succeed(["flatten", "d.qckpt", "-o", "f.qckpt"])
    #expect(flattened.text.hasSuffix(", 2 chunks from the base, 1 differences undone\n"))
    let inspected = try work.succeed(["inspect", "d.qckpt", "--json"]).json()
    expectMembers(inspected["base"], ["digest": .string, "name": .string, "found": .bool])
    #expect(inspected["base"]?["name"] == .string("s0.qckpt") && inspected["base"]?["found"] == .bool(true))
    let rows = try work.rows("d.qckpt")
    let counts = rows.map { [$0["base_chunks"]?.integerValue, $0["difference_chunks"]?.integerValue] }
    #expect(counts == [[0, 0], [1, 0], [0, 1], [1, 0]])
    #expect(try work.succeed(["inspect", "whole1.qckpt", "--json"]).json()["base"] == .null)
  }

  @Test func inspectDoesWithoutTheBase() throws {
    let work = try prepared()
    let digest = try #require(work.succeed(["inspect", "s1.qckpt", "--json"]).json()["base"]?["digest"]?.stringValue)
    try work.remove("s0.qckpt")
    let text = try work.succeed(["inspect", "s1.qckpt"]).text
    #expect(text.contains("base 's0.qckpt' of digest \(digest), not at hand"))
    #expect(try work.succeed(["inspect", "s1.qckpt", "--json"]).json()["base"]?["found"] == .bool(false))
  }

  @Test func aMissingBaseIsSaidAndCanBeNamed() throws {
    let work = try prepared()
    let digest = try #require(work.succeed(["inspect", "s1.qckpt", "--json"]).json()["base"]?["digest"]?.stringValue)
    try work.folder("elsewhere")
    try work.write(work.read("s0.qckpt"), "elsewhere/old.qckpt")
    try work.remove("s0.qckpt")
    let missing =
      "the base, of digest \(digest), is not at hand: there is no file 's0.qckpt' where it was beside this one"
    for command in [
      ["verify", "s1.qckpt"], ["decode", "s1.qckpt", "-o", "x"], ["flatten", "s1.qckpt", "-o", "x"],
      ["hash", "s1.qckpt"], ["diff", "s1.qckpt", "whole1.qckpt"],
    ] {
      let before = try work.names()
      let outcome = try work.run(command)
      #expect(outcome.status == 3 && outcome.text == "", "\(command)")
      #expect(outcome.errors.hasPrefix("qcodec: s1.qckpt: \(missing) (tensor '"), "\(command): \(outcome.errors)")
      #expect(outcome.errors.hasSuffix("'); --base names it\n"), "\(command): \(outcome.errors)")
      #expect(try work.names() == before)
      // One too many does no harm; the right one is looked for among all.
      let bases = ["--base", "whole1.qckpt", "--base", "elsewhere/old.qckpt"]
      #expect(try work.run(command + bases).status == 0, "\(command)")
    }
    try work.fail(
      ["encode", "s2.safetensors", "-o", "x", "--base", "s1.qckpt"], 3,
      "s1.qckpt: its own base is not at hand: \(missing)")
    // Through the chain: the base's base is the one that is not there.
    #expect(try work.run(["verify", "s2.qckpt", "--quiet"]).errors.contains("the base: the base, of digest \(digest)"))
    try work.succeed(["verify", "s2.qckpt", "--base", "elsewhere/old.qckpt", "--quiet"])
  }

  @Test func anotherFileInItsPlaceIsNone() throws {
    let work = try prepared()
    let digest = try #require(work.succeed(["inspect", "s1.qckpt", "--json"]).json()["base"]?["digest"]?.stringValue)
    try work.write(work.read("whole2.qckpt"), "s0.qckpt")
    let outcome = try work.run(["verify", "s1.qckpt"])
    #expect(outcome.status == 3)
    #expect(outcome.errors.hasPrefix("qcodec: s1.qckpt: 's0.qckpt' is another checkpoint than the base: of digest "))
    #expect(outcome.errors.contains("not \(digest)") && outcome.errors.hasSuffix("; --base names it\n"))
    try work.write([1, 2, 3], "s0.qckpt")
    #expect(try work.run(["verify", "s1.qckpt"]).errors.contains("the base 's0.qckpt': not a qcodec checkpoint"))
  }

  @Test func noOutputIsWrittenOverABase() throws {
    let work = try prepared()
    let reason = "this is an input; choose another output"
    for base in ["s0.qckpt", "s1.qckpt"] {
      try work.fail(["encode", "s2.safetensors", "-o", base, "--base", "s1.qckpt"], 2, "\(base): \(reason)")
      try work.fail(["flatten", "s2.qckpt", "-o", base], 2, "\(base): \(reason)")
      try work.fail(["decode", "s2.qckpt", "-o", base], 2, "\(base): \(reason)")
    }
    try work.fail(["report", "s2.qckpt", "-o", "s0.qckpt"], 2, "s0.qckpt: \(reason)")
  }

  @Test func aBaseInAnotherFolderIsFoundFromThere() throws {
    let work = try prepared()
    for name in ["run", "run/one", "run/two"] { try work.folder(name) }
    try work.succeed(["encode", "s0.safetensors", "-o", "run/one/s.qckpt", "--quiet"])
    try work.succeed(["encode", "s1.safetensors", "-o", "run/two/s.qckpt", "--base", "run/one/s.qckpt", "--quiet"])
    let document = try work.succeed(["inspect", "run/two/s.qckpt", "--json"]).json()
    #expect(document["base"]?["name"] == .string("../one/s.qckpt"))
    try work.succeed(["verify", "run/two/s.qckpt", "--quiet"])
    let outcome = try work.shell(
      "cd \"\(work.path("run/two"))\" && \"$Q\" verify s.qckpt --quiet && \"$Q\" verify - --quiet <s.qckpt")
    #expect(outcome.status == 0, "\(outcome.errors)")
    // Through a pipe the file has no folder: its base is expected where it is put.
    #expect(
      try work.run(["encode", "s1.safetensors", "-o", "-", "--base", "s0.qckpt"]).bytes == work.read("s1.qckpt"))
  }

  @Test func salvageTellsWhatIsLostWithTheBase() throws {
    let work = try prepared()
    try work.remove("s0.qckpt")
    let outcome = try work.run(["decode", "s1.qckpt", "-o", "rest.st", "--salvage"])
    #expect(outcome.status == 1)
    #expect(
      outcome.errors.hasPrefix("qcodec: s1.qckpt: lost: 'exp_avg.w'")
        && outcome.errors.contains("; what needs a base: "))
    try work.succeed(["encode", "s0.safetensors", "-o", "other.qckpt", "--quiet"])
    try work.succeed(["decode", "s1.qckpt", "-o", "all.st", "--salvage", "--base", "other.qckpt"])
    #expect(try TensorFile(path: work.path("all.st")).tensors.count == 4)
  }

  @Test func usage() throws {
    let work = try prepared()
    for command in [["encode", "s1.safetensors", "-o", "x"], ["verify", "s1.qckpt"]] {
      let outcome = try work.run(command + ["--base", "-"])
      #expect(outcome.status == 2 && outcome.errors.contains("base is a file, not standard input"))
    }
    let foreign = try work.run(["encode", "s1.safetensors", "-o", "x", "--base", "s1.safetensors"])
    #expect(foreign.status == 3)
    #expect(foreign.errors.hasPrefix("qcodec: s1.safetensors: not a qcodec checkpoint but a safetensors file"))
    let flatten = try work.run(["flatten", "s1.qckpt", "-o", "-", "--json"])
    #expect(flatten.status == 2)
  }
}
