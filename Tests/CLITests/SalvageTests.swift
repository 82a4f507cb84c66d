import QCheckpoint
import Testing

/// Checkpoints cut short or damaged: what `inspect` shows and `decode --salvage` restores.
@Suite struct SalvageTests {
  /// Three tensors in `s.qckpt`, the last of three chunks; `sound` is what decodes from it.
  private func prepared() throws -> (work: Workspace, reader: CheckpointReader) {
    let work = try Workspace()
    let tensors = [
      Tensor("a", [1, 2, 3]), Tensor("b", "U8", [2, 5], Array(0..<10)), Tensor.noise("m", count: 600_000, seed: 5),
    ]
    try work.write(safetensors(tensors, metadata: ["k": "v"]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--compression", "none"])
    try work.succeed(["decode", "s.qckpt", "-o", "sound"])
    return (work, try CheckpointReader(path: work.path("s.qckpt")))
  }

  private func cut(_ work: Workspace, to length: UInt64) throws {
    try work.write(Array(try work.read("s.qckpt")[..<Int(length)]), "cut.qckpt")
  }

  @Test func inspectListsWhatIsLeft() throws {
    let (work, reader) = try prepared()
    let m = reader.tensor(2)
    let place = reader.chunk(m.chunks[0] + 1).offset + 7
    try cut(work, to: place)
    let line =
      "qcodec: cut.qckpt: no trailer at the end of the file's \(place) bytes: it was cut short or is still being "
      + "written; 2 tensors in it are whole: 'a', 'b' (byte \(place - 96))\n"
    let outcome = try work.run(["inspect", "cut.qckpt"])
    #expect(outcome.status == 3 && outcome.errors == line)
    #expect(
      outcome.lines.map { $0.split(separator: " ").map(String.init) } == [
        ["tensor", "dtype", "shape", "stored", "as", "elements"],
        ["a", "F32", "3", "lossless", "whole"], ["b", "U8", "2x5", "lossless", "whole"],
        ["m", "F32", "600000", "lossless", "lost", "262144-599999"],
      ])
    let document = try work.run(["inspect", "cut.qckpt", "--json"])
    #expect(document.status == 3 && document.errors == line)
    let rows = try #require(try document.json()["salvageable"]?.arrayValue)
    #expect(rows.map { $0["name"]?.stringValue } == ["a", "b", "m"])
    #expect(rows.map { $0["whole"] } == [.bool(true), .bool(true), .bool(false)])
    #expect(rows.map { $0["lost"]?.arrayValue?.map(\.integers) } == [[], [], [[262_144, 600_000]]])
    #expect(rows.map { $0["lost_rows"]?.arrayValue?.map(\.integers) } == [[], [], [[262_144, 600_000]]])
    #expect(rows.map { $0["shape"]?.integers } == [[3], [2, 5], [600_000]])
    expectMembers(
      rows[1],
      [
        "dtype": .string, "encoding": .string, "map": .null, "bits": .null, "signed": .null, "scaling": .null,
        "block": .null, "domain": .null, "rounding": .null, "scale_rule": .null,
      ])
    let chosen = try work.run(["inspect", "cut.qckpt", "--json", "--tensor", "[ax]"])
    #expect(try chosen.json()["salvageable"]?.arrayValue?.map { $0["name"]?.stringValue } == ["a"])
  }

  @Test func schemesAreShown() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    let sound = try work.rows("s.qckpt")
    try cut(work, to: CheckpointReader(path: work.path("s.qckpt")).fileBytes - 1)
    let rows = try #require(
      try work.run(["inspect", "cut.qckpt", "--json"]).json()["salvageable"]?.arrayValue)
    let keys = [
      "name", "dtype", "shape", "encoding", "map", "bits", "signed", "scaling", "block", "domain", "rounding",
      "scale_rule",
    ]
    let found = rows.sorted { ($0["name"]?.stringValue ?? "") < ($1["name"]?.stringValue ?? "") }
    #expect(found.count == sound.count)
    for (row, expected) in zip(
      found, sound.sorted { ($0["name"]?.stringValue ?? "") < ($1["name"]?.stringValue ?? "") })
    {
      for key in keys { #expect(row[key] == expected[key], "\(key)") }
      #expect(row["whole"] == .bool(true))
    }
  }

  @Test func nothingIsLeftOfAHeader() throws {
    let (work, _) = try prepared()
    for length in [1, 63, 64, 100] as [UInt64] {
      try cut(work, to: length)
      let outcome = try work.run(["inspect", "cut.qckpt"])
      #expect(outcome.status == 3 && outcome.text == "", "\(length) bytes")
      #expect(outcome.errors.split(separator: "\n").count == 1, "\(length) bytes")
      let document = try work.run(["inspect", "cut.qckpt", "--json"])
      #expect(try document.status == 3 && document.json() == .object(["salvageable": .array([])]))
      let salvaged = try work.run(["decode", "cut.qckpt", "-o", "out", "--salvage"])
      #expect(salvaged.errors.split(separator: "\n").count == 1, "\(length) bytes")
      #expect(salvaged.status == (length < 64 ? 3 : 1), "\(length) bytes")
      #expect(try !work.names().contains("out"))
    }
  }

  @Test func wholeTensorsOfATruncatedFileAreWritten() throws {
    let (work, reader) = try prepared()
    let gone = "; the directory, the metadata and what stood behind the damage are lost too\n"
    let sound = try TensorFile(path: work.path("sound"))
    let cases: [(length: UInt64, whole: [String], lost: String)] = [
      (reader.chunk(2).offset + 1, ["a", "b"], "'m' (rows 0-599999 of 600000)"),
      (reader.chunk(4).offset, ["a", "b"], "'m' (rows 524288-599999 of 600000)"),
      (reader.chunk(1).offset, ["a"], "'b' (rows 0-1 of 2)"),
      (reader.fileBytes - 1, ["a", "b", "m"], "no tensor that was found"),
    ]
    for (length, whole, lost) in cases {
      try cut(work, to: length)
      let outcome = try work.run(["decode", "cut.qckpt", "-o", "out", "--salvage"])
      #expect(outcome.status == 1, "\(length) bytes")
      #expect(outcome.errors == "qcodec: cut.qckpt: lost: \(lost)\(gone)", "\(length) bytes")
      #expect(outcome.text.hasPrefix("out: \(whole.count) tensors, "), "\(length) bytes")
      let out = try TensorFile(path: work.path("out"))
      #expect(out.tensors == sound.tensors.filter { whole.contains($0.key) }, "\(length) bytes")
      #expect(out.metadata == [:])
    }
    try work.fail(
      ["decode", "cut.qckpt", "-o", "out", "--tensor", "nothing"], 3,
      "cut.qckpt: no trailer at the end of the file's \(reader.fileBytes - 1) bytes: it was cut short or is still being "
        + "written; 3 tensors in it are whole: 'a', 'b', 'm' (byte \(reader.fileBytes - 97))")
    let some = try work.run(["decode", "cut.qckpt", "-o", "-", "--salvage", "--tensor", "[bm]", "--quiet"])
    #expect(some.status == 1)
    #expect(try TensorFile(some.bytes).tensors.keys.sorted() == ["b", "m"])
  }

  @Test func damagedChunksCostTheirTensors() throws {
    let (work, reader) = try prepared()
    var bytes = try work.read("s.qckpt")
    bytes[Int(reader.chunk(3).offset) + 9] ^= 1
    try work.write(bytes, "bad.qckpt")
    let outcome = try work.run(["decode", "bad.qckpt", "-o", "out", "--salvage"])
    #expect(outcome.status == 1)
    #expect(outcome.errors == "qcodec: bad.qckpt: lost: 'm' (rows 262144-524287 of 600000)\n")
    let (out, sound) = (try TensorFile(path: work.path("out")), try TensorFile(path: work.path("sound")))
    #expect(out.tensors == sound.tensors.filter { $0.key != "m" })
    #expect(out.metadata == ["k": "v"])
    // With the damaged tensor left out nothing is lost.
    let others = ["--tensor", "a", "--tensor", "b"]
    #expect(try work.run(["decode", "bad.qckpt", "-o", "some", "--salvage"] + others).status == 0)
    #expect(try work.read("some") == work.read("out"))
    try work.fail(
      ["decode", "bad.qckpt", "-o", "none", "--salvage", "--tensor", "m"], 1,
      "bad.qckpt: lost: 'm' (rows 262144-524287 of 600000)")
    try work.fail(
      ["decode", "bad.qckpt", "-o", "none", "--salvage", "--tensor", "x"], 2, "bad.qckpt: no tensor matches x")
  }

  @Test func whatIsLostIsTold() throws {
    let work = try Workspace()
    let tensors = [
      Tensor("grid", "F32", [600, 1000], Tensor.noise("", count: 600_000, seed: 5).bytes),
      Tensor("scalar", "F64", [], littleEndian(UInt64(7))), Tensor("whole", [1, 2, 3]),
    ]
    try work.write(safetensors(tensors, metadata: ["k": "v"]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--compression", "none"])
    let reader = try CheckpointReader(path: work.path("s.qckpt"))
    var bytes = try work.read("s.qckpt")
    let grid = reader.tensor(0)
    #expect(grid.name == "grid" && grid.chunks.count == 3)
    for chunk in [grid.chunks[0], grid.chunks[2], reader.tensor(1).chunks[0]] {
      bytes[Int(reader.chunk(chunk).offset)] ^= 1
    }
    try work.write(bytes, "bad.qckpt")
    let outcome = try work.run(["decode", "bad.qckpt", "-o", "out", "--salvage", "--json"])
    #expect(outcome.status == 1)
    #expect(outcome.errors == "qcodec: bad.qckpt: lost: 'grid' (rows 0-262, 524-599 of 600); 'scalar'\n")
    let document = try outcome.json()
    let size = Int64(try work.read("out").count)
    #expect(document["tensors"] == .integer(1) && document["output_bytes"] == .integer(size))
    #expect(document["directory_lost"] == .bool(false) && document["metadata_lost"] == .bool(false))
    let lost = try #require(document["lost"]?.arrayValue)
    #expect(lost.map { $0["name"]?.stringValue } == ["grid", "scalar"])
    #expect(lost.map { $0["dtype"]?.stringValue } == ["F32", "F64"])
    #expect(lost.map { $0["shape"]?.integers } == [[600, 1000], []])
    #expect(lost.map { $0["lost"]?.arrayValue?.map(\.integers) } == [[[0, 262_144], [524_288, 600_000]], [[0, 1]]])
    #expect(lost.map { $0["lost_rows"]?.arrayValue?.map(\.integers) } == [[[0, 263], [524, 600]], []])
    // Nothing is written where nothing is whole, but the document tells why.
    let none = try work.run(["decode", "bad.qckpt", "-o", "none", "--salvage", "--json", "--tensor", "grid"])
    #expect(none.status == 1)
    #expect(try none.json()["output_bytes"] == .null && none.json()["lost"]?.arrayValue?.count == 1)
    #expect(try !work.names().contains("none"))
    let sound = try work.succeed(["decode", "s.qckpt", "-o", "all", "--json"]).json()
    #expect(sound["tensors"] == .integer(3) && sound["lost"] == .array([]) && sound["metadata_lost"] == .bool(false))
    try work.fail(
      ["decode", "s.qckpt", "-o", "-", "--json"], 2,
      "standard output cannot hold both tensors and --json; see 'qcodec decode --help'")
  }

  @Test func aFileWithoutItsHeaderIsRestoredAsAWhole() throws {
    let (work, _) = try prepared()
    let bytes = try work.read("s.qckpt")
    try work.write([UInt8](repeating: 0, count: 64) + bytes[64...], "bad.qckpt")
    try work.fail(["verify", "bad.qckpt"], 3, "bad.qckpt: not a qcodec checkpoint (byte 0)")
    try work.succeed(["decode", "bad.qckpt", "-o", "out", "--salvage"])
    #expect(try work.read("out") == work.read("sound"))
  }

  @Test func lostMetadataAreTold() throws {
    let (work, reader) = try prepared()
    var bytes = try work.read("s.qckpt")
    let last = reader.chunk(reader.chunkCount - 1)
    let start = (Int(last.offset) + last.storedLength + 63) / 64 * 64
    bytes[start + 3] ^= 1
    try work.write(bytes, "bad.qckpt")
    let outcome = try work.run(["decode", "bad.qckpt", "-o", "out", "--salvage"])
    #expect(outcome.status == 1)
    #expect(outcome.errors == "qcodec: bad.qckpt: lost: no tensor that was found; the metadata are lost too\n")
    #expect(try TensorFile(path: work.path("out")).tensors == TensorFile(path: work.path("sound")).tensors)
  }

  @Test func aDamagedDirectoryCostsNoTensor() throws {
    let (work, reader) = try prepared()
    var bytes = try work.read("s.qckpt")
    bytes[bytes.count - 96 - 64] ^= 1
    try work.write(bytes, "bad.qckpt")
    let listed = try work.run(["inspect", "bad.qckpt", "--json"])
    #expect(listed.status == 3 && listed.errors.contains("the directory's checksum is wrong"))
    #expect(try listed.json()["salvageable"]?.arrayValue?.count == reader.tensorCount)
    #expect(try work.run(["decode", "bad.qckpt", "-o", "out", "--salvage"]).status == 1)
    #expect(
      try TensorFile(path: work.path("out")).tensors == TensorFile(path: work.path("sound")).tensors)
  }

  @Test func aSoundFileIsDecodedAsEver() throws {
    let (work, _) = try prepared()
    try work.succeed(["decode", "s.qckpt", "-o", "out", "--salvage"])
    #expect(try work.read("out") == work.read("sound"))
    try work.write("hello, world", "text")
    try work.fail(["decode", "text", "-o", "new", "--salvage"], 3, "text: not a qcodec checkpoint (byte 0)")
    try work.fail(["decode", "no", "-o", "new", "--salvage"], 4, "no: cannot open: No such file or directory")
  }
}
