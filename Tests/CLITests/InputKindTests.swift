import QCheckpoint
import Testing

/// Everything that `encode` and `--against` read.
@Suite struct InputKindTests {
  private let a = Tensor.noise("exp_avg/w", count: 4096, seed: 11)
  private let b = Tensor.noise("exp_avg_sq/w", count: 4096, seed: 12, signed: false)

  private func names(_ work: Workspace, _ file: String) throws -> [String] {
    try work.rows(file).compactMap {
      $0["name"]?.stringValue
    }
  }

  @Test func severalInputsBecomeOneCheckpoint() throws {
    let work = try Workspace()
    try work.write(safetensors([a], metadata: ["step": "1", "a": "x"]), "a")
    try work.write(safetensors([b], metadata: ["step": "1", "b": "y"]), "b")
    try work.write(safetensors([a, b], metadata: ["step": "1", "a": "x", "b": "y"]), "both")
    try work.succeed(["encode", "a", "b", "-o", "1.qckpt"])
    try work.succeed(["encode", "b", "a", "-o", "2.qckpt"])
    try work.succeed(["encode", "both", "-o", "3.qckpt"])
    #expect(try names(work, "1.qckpt") == ["exp_avg/w", "exp_avg_sq/w"])
    for name in ["1.qckpt", "2.qckpt", "3.qckpt"] { try work.succeed(["verify", name, "--against", "both"]) }
    #expect(try work.read("1.qckpt") == work.read("3.qckpt"))
  }

  @Test func metadataThatDiffersIsSettledOnTheCommandLine() throws {
    let work = try Workspace()
    try work.write(safetensors([a], metadata: ["step": "1"]), "a")
    try work.write(safetensors([b], metadata: ["step": "2"]), "b")
    try work.fail(
      ["encode", "a", "b", "-o", "s"], 3, "b: another input has other metadata 'step'; settle it with --metadata")
    try work.succeed(["encode", "a", "b", "-o", "s", "--metadata", "step=3"])
    #expect(try work.succeed(["inspect", "s", "--json"]).json()["metadata"]?["step"] == .string("3"))
  }

  @Test func anIndexStandsForItsShards() throws {
    let work = try Workspace()
    try work.write(safetensors([a, b]), "whole")
    try work.folder("f")
    try work.write(safetensors([a]), "f/model-00001-of-00002.safetensors")
    try work.write(safetensors([b]), "f/model-00002-of-00002.safetensors")
    try work.write(
      """
      {"metadata": {}, "weight_map": {"exp_avg/w": "model-00001-of-00002.safetensors",
        "exp_avg_sq/w": "model-00002-of-00002.safetensors"}}
      """, "f/model.safetensors.index.json")
    try work.succeed(["encode", "f/model.safetensors.index.json", "-o", "s.qckpt"])
    try work.succeed(["encode", "whole", "-o", "whole.qckpt"])
    #expect(try work.read("s.qckpt") == work.read("whole.qckpt"))
    try work.succeed(["verify", "s.qckpt", "--against", "f/model.safetensors.index.json"])
    // A shard is an input as much as the index is.
    for name in ["model-00002-of-00002.safetensors", "model.safetensors.index.json"] {
      try work.fail(
        ["encode", "f/model.safetensors.index.json", "-o", "f/\(name)"], 2,
        "f/\(name): this is an input; choose another output")
    }
  }

  @Test func anArrayIsNamedAfterItsFile() throws {
    let work = try Workspace()
    try work.write(npy(a.values, shape: "(64, 64)"), "exp_avg.npy")
    try work.succeed(["encode", "exp_avg.npy", "-o", "s.qckpt"])
    let row = try work.succeed(["inspect", "s.qckpt", "--json"]).json()["tensors"]?.arrayValue?.first
    #expect(row?["name"]?.stringValue == "exp_avg")
    #expect(row?["shape"] == .array([.integer(64), .integer(64)]))
    #expect(row?["encoding"]?.stringValue == "quantized")
    try work.succeed(["verify", "s.qckpt", "--against", "exp_avg.npy"])
    try work.succeed(["encode", "exp_avg.npy", "-o", "l.qckpt", "--policy", "lossless"])
    try work.succeed(["decode", "l.qckpt", "-o", "out"])
    #expect(try TensorFile(path: work.path("out")).tensors["exp_avg"]?.bytes == a.bytes)
  }

  @Test(arguments: [false, true]) func archivesAreRead(deflated: Bool) throws {
    let work = try Workspace()
    let members = [a, b].map { (name: $0.name + ".npy", bytes: npy($0.values, shape: "(4096,)")) }
    try work.write(zip(members, deflated: deflated), "state.npz")
    try work.write(safetensors([a, b]), "in")
    try work.succeed(["encode", "state.npz", "-o", "npz.qckpt"])
    try work.succeed(["encode", "in", "-o", "in.qckpt"])
    #expect(try work.read("npz.qckpt") == work.read("in.qckpt"))
    try work.succeed(["verify", "npz.qckpt", "--against", "state.npz"])
    try work.succeed(["verify", "npz.qckpt", "--against", "in"])
  }

  @Test func aCheckpointIsAnInputLikeAnother() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "l.qckpt", "--policy", "lossless"])
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    try work.succeed(["encode", "l.qckpt", "-o", "again.qckpt"])
    try work.succeed(["verify", "s.qckpt", "--against", "l.qckpt"])
    // Metadata, roles and codes are those of the direct way; tensors come in the order of their names.
    try work.succeed(["decode", "s.qckpt", "-o", "1"])
    try work.succeed(["decode", "again.qckpt", "-o", "2"])
    #expect(try work.read("1") == work.read("2"))
    // What was quantized once stays as it is.
    try work.succeed(["encode", "s.qckpt", "-o", "twice.qckpt"])
    try work.succeed(["decode", "twice.qckpt", "-o", "3"])
    #expect(try work.read("3") == work.read("1"))
  }

  @Test func contentDecidesNotTheName() throws {
    let work = try Workspace()
    try work.write(safetensors([a]), "state.npz")
    try work.write(npy(a.values, shape: "(4096,)"), "w.safetensors")
    try work.succeed(["encode", "state.npz", "w.safetensors", "-o", "s.qckpt"])
    #expect(try names(work, "s.qckpt") == ["exp_avg/w", "w.safetensors"])
  }

  @Test func noTensorsMakeACheckpointToo() throws {
    let work = try Workspace()
    try work.write(safetensors([]), "in")
    let document = try work.succeed(["encode", "in", "-o", "s.qckpt", "--json"]).json()
    #expect(document["tensors"] == .integer(0))
    #expect(document["ratio"]?.doubleValue == 0)
    try work.succeed(["verify", "s.qckpt", "--against", "in"])
    try work.succeed(["decode", "s.qckpt", "-o", "out"])
    #expect(try TensorFile(path: work.path("out")).tensors.isEmpty)
    #expect(try work.succeed(["inspect", "s.qckpt", "--json"]).json()["ratio"]?.doubleValue == 0)
  }
}
