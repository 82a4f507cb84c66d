import QCheckpoint
import Testing

/// Checkpoints that were damaged on their way.
@Suite struct CorruptionTests {
  /// The real state in `s.qckpt`, and its copy `bad.qckpt` with one byte changed in a chunk of `victim`.
  private func damaged(_ victim: String, policy: String) throws -> (work: Workspace, place: UInt64, holds: String) {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt", "--policy", policy])
    let reader = try CheckpointReader(path: work.path("s.qckpt"))
    let info = reader.tensor(try #require(reader.find(victim)))
    let last = info.chunks.count - 1
    let chunk = reader.chunk(info.chunks[last])
    var bytes = try work.read("s.qckpt")
    bytes[Int(chunk.offset) + chunk.storedLength / 2] ^= 0x10
    try work.write(bytes, "bad.qckpt")
    return (work, chunk.offset, "chunk \(last) of 0-\(last) holds elements 0-36863, rows 0-191")
  }

  @Test(arguments: Fixture.presets) func aCorruptChunkIsItsTensorsAlone(policy: String) throws {
    let victim = "exp_avg_sq/blocks.3.proj.weight"
    let (work, place, holds) = try damaged(victim, policy: policy)
    // Nothing but the directory is read.
    #expect(try work.rows("bad.qckpt") == work.rows("s.qckpt"))
    let line = "bad.qckpt: a chunk's checksum is wrong: \(holds) (tensor '\(victim)', byte \(place))"
    try work.write("earlier", "out")
    try work.fail(["verify", "bad.qckpt"], 3, line)
    try work.fail(["verify", "bad.qckpt", "--against", "in.safetensors"], 3, line)
    try work.fail(["verify", "s.qckpt", "--against", "bad.qckpt"], 3, line)
    try work.fail(["decode", "bad.qckpt", "-o", "out"], 3, line)
    try work.fail(["decode", "bad.qckpt", "-o", "out", "--tensor", "*proj*"], 3, line)
    try work.fail(["encode", "bad.qckpt", "-o", "out"], 3, line)
    if policy != "lossless" { try work.fail(["inspect", "bad.qckpt", "--codes"], 3, line) }
    let others = ["--tensor", "param/*", "--tensor", "*fc*", "--tensor", "rng/*"]
    let first = ["decode", "bad.qckpt", "-o", "out", "--tensor", "exp_avg/blocks.3.proj.weight"]
    // In the update domain a first moment is read with its second moment.
    if policy.hasPrefix("adam") { try work.fail(first, 3, line) } else { try work.succeed(first) }
    try work.succeed(["decode", "bad.qckpt", "-o", "some"] + others)
    try work.succeed(["decode", "s.qckpt", "-o", "sound"] + others)
    #expect(try work.read("some") == work.read("sound"))
  }

  @Test func allDamageIsNamed() throws {
    let work = try Workspace()
    let grid = Tensor("grid", "F32", [600, 1000], Tensor.noise("", count: 600_000, seed: 5).bytes)
    try work.write(safetensors([grid, Tensor("x", [1, 2, 3])]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--compression", "none"])
    let reader = try CheckpointReader(path: work.path("s.qckpt"))
    var bytes = try work.read("s.qckpt")
    let chunks = [reader.tensor(0).chunks[0], reader.tensor(0).chunks[2], reader.tensor(1).chunks[0]].map(reader.chunk)
    for chunk in chunks { bytes[Int(chunk.offset)] ^= 1 }
    // A lead costs nothing but is wrong all the same.
    bytes[Int(chunks[2].offset) - 1] ^= 1
    try work.write(bytes, "bad.qckpt")
    let wrong = "qcodec: bad.qckpt: a chunk's checksum is wrong: "
    let outcome = try work.run(["verify", "bad.qckpt"])
    #expect(outcome.status == 3 && outcome.text == "")
    let lines = [
      wrong + "chunk 0 of 0-2 holds elements 0-262143, rows 0-262 (tensor 'grid', byte \(chunks[0].offset))",
      wrong + "chunk 2 of 0-2 holds elements 524288-599999, rows 524-599 (tensor 'grid', byte \(chunks[1].offset))",
      wrong + "chunk 0 of 0-0 holds elements 0-2, rows 0-2 (tensor 'x', byte \(chunks[2].offset))",
      "qcodec: bad.qckpt: what stands before chunk 0 is not what the directory says (tensor 'x', byte "
        + "\(chunks[2].offset - 1))",
    ]
    #expect(outcome.errors == lines.joined(separator: "\n") + "\n")
    let document = try work.run(["verify", "bad.qckpt", "--json"])
    #expect(document.status == 3 && document.errors == outcome.errors)
    #expect(try document.json()["ok"] == .bool(false))
    let damage = try #require(try document.json()["damage"]?.arrayValue)
    let codes = ["chunkCorrupt", "chunkCorrupt", "chunkCorrupt", "leadCorrupt"]
    #expect(damage.map { $0["code"]?.stringValue } == codes)
    #expect(damage.map { $0["tensor"]?.stringValue } == ["grid", "grid", "x", "x"])
    #expect(damage.map { $0["chunk"]?.integerValue } == [0, 2, 0, 0])
    #expect(
      damage.map { $0["lost"]?.arrayValue?.map(\.integers) } == [[[0, 262_144]], [[524_288, 600_000]], [[0, 3]], []])
    #expect(damage.map { $0["lost_rows"]?.arrayValue?.map(\.integers) } == [[[0, 263]], [[524, 600]], [[0, 3]], []])
    #expect(damage.map { $0["offset"]?.integerValue.map(UInt64.init) }.prefix(3) == chunks.map(\.offset)[...])
    #expect(try work.succeed(["verify", "s.qckpt", "--json"]).json()["damage"] == .array([]))
  }

  @Test func anyChangedByteOfTheFrameIsFound() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2, 3])], metadata: ["k": "v"]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    let sound = try work.read("s.qckpt")
    // A stride that visits header, chunk, padding, metadata, directory and trailer.
    for place in Array(stride(from: 0, to: sound.count, by: 13)) + [sound.count - 1] {
      var bytes = sound
      bytes[place] ^= 0x40
      try work.write(bytes, "bad.qckpt")
      let outcome = try work.run(["verify", "bad.qckpt"])
      #expect(outcome.status == 3, "byte \(place)")
      #expect(outcome.errors.hasPrefix("qcodec: bad.qckpt: ") && outcome.errors.hasSuffix(")\n"), "\(outcome.errors)")
      #expect(outcome.errors.split(separator: "\n").count == 1, "byte \(place)")
    }
  }

  @Test func aTruncatedCheckpointIsRefusedByAll() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2, 3])]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    try work.write("earlier", "out")
    let sound = try work.read("s.qckpt")
    for length in [1, 8, 63, 64, 100, sound.count / 2, sound.count - 1] {
      try work.write(Array(sound[..<length]), "bad.qckpt")
      let before = try work.contents()
      for arguments in [
        ["inspect", "bad.qckpt"], ["verify", "bad.qckpt"], ["decode", "bad.qckpt", "-o", "out"],
        ["encode", "bad.qckpt", "-o", "out"],
      ] {
        let outcome = try work.run(arguments)
        #expect(outcome.status == 3, "\(arguments) \(length)")
        #expect(outcome.errors.hasPrefix("qcodec: bad.qckpt: "), "\(outcome.errors)")
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(arguments) \(length)")
        // What is left is shown all the same.
        if arguments[0] != "inspect" { #expect(outcome.text == "", "\(arguments) \(length)") }
        #expect(try work.contents() == before, "\(arguments) \(length)")
      }
    }
    // A file that grew is as bad.
    try work.write(sound + [0], "bad.qckpt")
    #expect(try work.run(["inspect", "bad.qckpt"]).status == 3)
  }

  @Test func aCopyInTextModeIsRecognised() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2, 3])]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    let sound = try work.read("s.qckpt")
    try work.write(sound.flatMap { $0 == 0x0A ? [0x0D, 0x0A] : [$0] }, "unix2dos")
    try work.write(sound.filter { $0 != 0x0D }, "dos2unix")
    for name in ["unix2dos", "dos2unix"] {
      try work.fail(
        ["inspect", name], 3,
        "\(name): the magic number is damaged, as by a copy in text mode; copy the file again in binary mode (byte 0)")
    }
  }
}
