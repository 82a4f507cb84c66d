import QCheckpoint
import Testing

@Suite struct EncodeOptionTests {
  private func encode(_ work: Workspace, _ options: [String], to name: String) throws -> [UInt8] {
    try work.succeed(["encode", "in.safetensors", "-o", name] + options)
    return try work.read(name)
  }

  private func realState() throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    return work
  }

  @Test(arguments: Fixture.presets) func threadsDoNotChangeTheBytes(policy: String) throws {
    let work = try realState()
    let one = try encode(work, ["--policy", policy, "--threads", "1"], to: "1")
    for threads in ["2", "7"] {
      #expect(try encode(work, ["--policy", policy, "--threads", threads], to: threads) == one, "\(threads) threads")
    }
  }

  @Test func eachCompressionIsUsedAndVerifies() throws {
    let work = try realState()
    var sizes: [String: Int] = [:]
    for name in ["none", "lz4", "zstd"] {
      sizes[name] = try encode(work, ["--compression", name], to: name).count
      let used = Set(try work.rows(name).compactMap { $0["compression"]?.stringValue })
      // Dense codes do not shrink under LZ4; a chunk that does not shrink is stored plain.
      #expect(used == (name == "zstd" ? ["zstd", "none"] : ["none", name]), "\(name)")
      try work.succeed(["decode", name, "-o", "\(name).out"])
    }
    try work.succeed(["verify", "zstd", "--against", "in.safetensors"])
    #expect(try #require(sizes["zstd"]) < #require(sizes["lz4"]))
    #expect(try #require(sizes["lz4"]) < #require(sizes["none"]))
    #expect(try work.read("lz4.out") == work.read("none.out"))
    #expect(try work.read("zstd.out") == work.read("none.out"))
    #expect(try encode(work, [], to: "default") == work.read("lz4"))
  }

  @Test func aQualityIsTheErrorOfTheUpdate() throws {
    let work = try realState()
    for quality in ["0.02", "0.1", "0.2"] {
      let own = try encode(work, ["--policy", "adamq", "--quality", quality, "--measure-update"], to: quality)
      #expect(try encode(work, ["--policy", "adamq:\(quality)", "--measure-update"], to: "named") == own)
      let report = try work.succeed(["verify", quality, "--against", "in.safetensors", "--json"]).json()
      let error = try #require(report["update_error"]?["rel_l2"]?.doubleValue)
      let wanted = try #require(Double(quality))
      #expect((error / wanted - 1).magnitude < 0.05, "\(quality): \(error)")
    }
    #expect(try work.read("0.02").count > work.read("0.1").count)
    #expect(try work.read("0.1").count > work.read("0.2").count)
    #expect(try encode(work, ["--policy", "adamq", "--measure-update"], to: "default") == work.read("0.1"))
  }

  @Test func qualitiesThatCannotBeAreUsageErrors() throws {
    let work = try realState()
    for options in [
      ["--quality", "0.1"], ["--policy", "adam8", "--quality", "0.1"], ["--policy", "adamq", "--quality", "0.7"],
      ["--policy", "adamq", "--quality", "0"], ["--policy", "adamq", "--quality", "x"], ["--policy", "adamq:0.7"],
    ] {
      #expect(try work.run(["encode", "in.safetensors", "-o", "s.qckpt"] + options).status == 2, "\(options)")
    }
    #expect(try work.names() == ["in.safetensors"])
  }

  @Test func absmaxScalesAreRecorded() throws {
    let work = try realState()
    let paper = ["--policy", "paper8"]
    let auto = try encode(work, paper + ["--scale", "auto"], to: "auto")
    #expect(try encode(work, paper, to: "default") == auto)
    #expect(try encode(work, paper + ["--scale", "absmax"], to: "absmax") != auto)
    for (name, wanted) in [("auto", "signed-extreme"), ("absmax", "absmax")] {
      let first = try work.rows(name).filter { $0["role"]?.stringValue == "first_moment" && $0["map"] != .null }
      #expect(first.count == 3 && first.allSatisfy { $0["scale_rule"]?.stringValue == wanted }, "\(name)")
    }
    try work.succeed(["verify", "absmax", "--against", "in.safetensors"])
  }

  @Test func stochasticRoundingFollowsItsSeed() throws {
    let work = try realState()
    let nearest = try encode(work, [], to: "nearest")
    let one = try encode(work, ["--stochastic", "1", "--threads", "1"], to: "1")
    #expect(try encode(work, ["--stochastic", "1", "--threads", "7"], to: "again") == one)
    let other = try encode(work, ["--stochastic", "18446744073709551615"], to: "2")
    #expect(other != one && one != nearest && other != nearest)
    for name in ["1", "2"] {
      let quantized = try work.rows(name).filter { $0["map"] != .null }
      #expect(quantized.count == 6 && quantized.allSatisfy { $0["rounding"]?.stringValue == "stochastic" })
    }
    try work.succeed(["verify", "1", "--against", "in.safetensors"])
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity]) func rawStoresNonFiniteTensorsLossless(value: Float) throws {
    let work = try Workspace()
    var poisoned = Tensor.noise("momentum_buffer/a", count: 5000, seed: 1)
    poisoned.bytes.replaceSubrange(4996 * 4..<4997 * 4, with: littleEndian([value]))
    let sound = Tensor.noise("momentum_buffer/b", count: 5000, seed: 2)
    try work.write(safetensors([poisoned, sound]), "in.safetensors")
    _ = try encode(work, ["--nonfinite", "raw"], to: "s.qckpt")
    let encodings = try work.rows("s.qckpt").map { $0["encoding"]?.stringValue }
    #expect(encodings == ["lossless", "quantized"])
    let reasons = try work.rows("s.qckpt").map { $0["reason"]?.stringValue }
    #expect(reasons[0]?.contains("finite") == true && reasons[1] == nil)
    try work.succeed(["decode", "s.qckpt", "-o", "out"])
    #expect(try TensorFile(path: work.path("out")).tensors["momentum_buffer/a"] == poisoned)
    try work.succeed(["verify", "s.qckpt", "--against", "in.safetensors"])
  }

  @Test func aPresetStoresANegativeSecondMomentLossless() throws {
    let work = try Workspace()
    let tensor = Tensor.noise("exp_avg_sq/a", count: 5000, seed: 3)
    try work.write(safetensors([tensor]), "in.safetensors")
    for policy in ["adam8", "adam4", "paper8", "paper4"] {
      _ = try encode(work, ["--policy", policy], to: "s.qckpt")
      let row = try work.rows("s.qckpt")[0]
      #expect(row["encoding"]?.stringValue == "lossless" && row["reason"]?.stringValue?.contains("negative") == true)
      #expect(row["guaranteed_max_abs_error"]?.doubleValue == 0)
    }
  }

  @Test(arguments: Fixture.presets) func aDryRunStatesTheSizeAndWritesNothing(policy: String) throws {
    let work = try realState()
    let before = try work.contents()
    let arguments = ["encode", "in.safetensors", "--policy", policy, "--json"]
    let dry = try work.succeed(arguments + ["--dry-run"]).json()
    let named = try work.succeed(arguments + ["--dry-run", "-o", "s.qckpt"]).json()
    #expect(try work.contents() == before)
    let real = try work.succeed(arguments + ["-o", "s.qckpt"]).json()
    for key in ["input_bytes", "output_bytes", "tensors", "elements", "ratio"] {
      #expect(dry[key] == real[key] && named[key] == real[key], "\(key)")
    }
  }

  @Test func aDryRunSaysWhatBecomesOfEachTensor() throws {
    let work = try realState()
    let lines = try work.succeed(["encode", "in.safetensors", "--dry-run", "--policy", "paper4"]).lines
    #expect(lines.count == 1 + 13 + 1)
    let fc = try #require(lines.first { $0.hasPrefix("exp_avg_sq/blocks.3.fc.weight") })
    #expect(
      fc.split(separator: " ") == [
        "exp_avg_sq/blocks.3.fc.weight", "F32", "768x192", "second_moment", "linear-nozero", "u4", "rank1",
      ])
    #expect(lines.last?.hasPrefix("would write 13 tensors, 461440 elements, 1.75 MiB to ") == true)
  }

  @Test func quietPrintsNothing() throws {
    let work = try realState()
    #expect(try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt", "--quiet"]).text == "")
    #expect(try work.succeed(["encode", "in.safetensors", "--dry-run", "--quiet"]).text == "")
    #expect(try work.succeed(["decode", "s.qckpt", "-o", "out", "--quiet"]).text == "")
    #expect(try work.succeed(["verify", "s.qckpt", "--quiet"]).text == "")
  }

  @Test func policiesComeFromFiles() throws {
    let work = try realState()
    try work.write(
      """
      {"name": "mine", "rules": [{"match": {"name": "rng/*"}, "action": "drop"},
        {"match": {"name": "*fc*"}, "action": "quantize", "scheme": {"map": "linear", "bits": 4, "block": 64}}]}
      """, "p.json")
    try work.write(
      """
      # The same rules.
      name: mine
      rules:
        - match: {name: "rng/*"}
          action: drop
        - match: {name: "*fc*"}
          action: quantize
          scheme: {map: linear, bits: 4, block: 64}
      """, "p.yaml")
    let bytes = try encode(work, ["--policy", "p.json"], to: "json.qckpt")
    #expect(try encode(work, ["--policy", "p.yaml"], to: "yaml.qckpt") == bytes)
    let rows = try work.rows("json.qckpt")
    #expect(rows.count == 12)
    let names = rows.filter { $0["map"]?.stringValue == "linear" && $0["block"]?.integerValue == 64 }
      .compactMap { $0["name"]?.stringValue }
    #expect(names == ["exp_avg/blocks.3.fc.weight", "exp_avg_sq/blocks.3.fc.weight"])
    let document = try work.succeed(["inspect", "json.qckpt", "--json"]).json()
    #expect(document["policy"]?["rules"]?.arrayValue?.count == 2)
    // What the policy dropped is not missing.
    try work.succeed(["verify", "json.qckpt", "--against", "in.safetensors"])
  }
}
