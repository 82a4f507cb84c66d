import QCheckpoint
import Testing

/// The default policy, and policy files that extend a preset.
@Suite struct AdamPolicyTests {
  /// Two pairs, a momentum, a first moment alone and a pair whose second moment has a negative element.
  private func prepared() throws -> Workspace {
    let work = try Workspace()
    var tensors: [Tensor] = []
    for (index, name) in ["embed.w", "fc.w", "bad.w"].enumerated() {
      let seed = UInt64(index * 2 + 1)
      var second = Tensor.noise("exp_avg_sq/\(name)", count: 4096, seed: seed, signed: false)
      if name == "bad.w" { second.bytes.replaceSubrange(16_380..<16_384, with: littleEndian([-1])) }
      tensors += [Tensor.noise("exp_avg/\(name)", count: 4096, seed: seed + 1), second]
    }
    tensors.append(.noise("exp_avg/alone", count: 4096, seed: 21))
    tensors.append(.noise("momentum_buffer/x", count: 4096, seed: 22))
    tensors.append(.noise("exp_avg/small", count: 4095, seed: 23))
    tensors.append(.noise("param/x", count: 100, seed: 24))
    try work.write(safetensors(tensors), "in")
    return work
  }

  /// What each tensor of a checkpoint is stored under: its map or "lossless", domain and reason.
  private func stored(_ work: Workspace, _ file: String) throws -> [String: String] {
    var result: [String: String] = [:]
    for row in try work.rows(file) {
      let parts = [row["map"]?.stringValue ?? "lossless", row["domain"]?.stringValue, row["reason"]?.stringValue]
      result[row["name"]?.stringValue ?? ""] = parts.compactMap { $0 }.joined(separator: " ")
    }
    return result
  }

  private static let adam = [
    "exp_avg/embed.w": "cubic update", "exp_avg_sq/embed.w": "log value", "exp_avg/fc.w": "cubic update",
    "exp_avg_sq/fc.w": "log value", "exp_avg/bad.w": "dynamic value second_moment_not_usable",
    "exp_avg_sq/bad.w": "lossless negative_values", "exp_avg/alone": "dynamic value no_second_moment",
    "momentum_buffer/x": "dynamic value", "exp_avg/small": "lossless too_few_elements", "param/x": "lossless",
  ]

  @Test(arguments: [[], ["--policy", "adam8"], ["--policy", "adam4"]]) func reasonsAreShown(policy: [String]) throws {
    let work = try prepared()
    try work.succeed(["encode", "in", "-o", "s.qckpt"] + policy)
    #expect(try stored(work, "s.qckpt") == Self.adam)
    for row in try work.rows("s.qckpt") {
      let name = row["name"]?.stringValue ?? ""
      let isPair = Self.adam[name] == "cubic update"
      #expect(
        row["second_moment"] == (isPair ? .string(name.replacing("exp_avg/", with: "exp_avg_sq/")) : .null), "\(name)")
      let isRelative = isPair || Self.adam[name] == "log value"
      #expect((row["guaranteed_max_rel_error"]?.doubleValue ?? 0 > 0) == isRelative, "\(name)")
      #expect(row["bits"]?.integerValue == nil || row["bits"]?.integerValue == (policy.last == "adam4" ? 4 : 8))
    }
    let lines = try work.succeed(["inspect", "s.qckpt"]).lines.map { $0.split(separator: " ").joined(separator: " ") }
    let bits = policy.last == "adam4" ? 4 : 8
    let block = bits == 4 ? 128 : 256
    for text in [
      "exp_avg/fc.w F32 4096 first_moment cubic s\(bits) block\(block) update ",
      "exp_avg/bad.w F32 4096 first_moment dynamic s\(bits) block\(block) (second_moment_not_usable) ",
      "exp_avg/alone F32 4096 first_moment dynamic s\(bits) block\(block) (no_second_moment) ",
      "exp_avg_sq/bad.w F32 4096 second_moment lossless (negative_values) ",
      "exp_avg_sq/fc.w F32 4096 second_moment log u\(bits) block\(2 * block) ",
    ] {
      #expect(lines.contains { $0.hasPrefix(text) }, "\(text)")
    }
    try work.succeed(["verify", "s.qckpt", "--against", "in"])
    // What a dry run announces, as far as values do not matter.
    let dry = try work.succeed(["encode", "in", "--dry-run"] + policy).text
    #expect(dry.contains("(no_second_moment)") && dry.contains("(too_few_elements)"))
  }

  private static let yaml = """
    name: mine
    extends: adam8
    keep-lossless: ["*embed*"]   # as the 8-bit paper advises
    drop: param/*
    rules:
      - match: {role: momentum}
        action: quantize
        compression: zstd
        scheme: {map: linear, bits: 4, block: 64}

    """

  private static let json = """
    {"name": "mine", "extends": "adam8", "keep-lossless": ["*embed*"], "drop": "param/*", "rules": [
      {"match": {"role": "momentum"}, "action": "quantize", "compression": "zstd",
       "scheme": {"map": "linear", "bits": 4, "block": 64}}]}
    """

  @Test func aPolicyFileExtendsAPreset() throws {
    let work = try prepared()
    try work.write(Self.yaml, "p.yaml")
    try work.write(Self.json, "p.json")
    var wanted = Self.adam.filter { $0.key != "param/x" }
    wanted["exp_avg/embed.w"] = "lossless"
    wanted["exp_avg_sq/embed.w"] = "lossless"
    wanted["momentum_buffer/x"] = "linear value"
    for file in ["p.yaml", "p.json"] {
      let outcome = try work.succeed(["encode", "in", "-o", file + ".qckpt", "--policy", file, "--json"])
      #expect(try outcome.json()["dropped"] == .array([.string("param/x")]))
      #expect(try stored(work, file + ".qckpt") == wanted, "\(file)")
    }
    #expect(try work.read("p.yaml.qckpt") == work.read("p.json.qckpt"))
    // The resolved policy is in the file, and what it dropped is not missing.
    let policy = try work.succeed(["inspect", "p.yaml.qckpt", "--json"]).json()["policy"]
    #expect(policy?["name"] == .string("mine") && policy?["extends"] == nil)
    #expect(policy?["rules"]?.arrayValue?.count == 6)
    try work.succeed(["verify", "p.yaml.qckpt", "--against", "in"])
    // It encodes the same from what was stored.
    try work.write(try #require(policy).serialized(), "stored.json")
    try work.succeed(["encode", "in", "-o", "again.qckpt", "--policy", "stored.json"])
    #expect(try work.read("again.qckpt") == work.read("p.yaml.qckpt"))
  }

  @Test func momentsOfSixBits() throws {
    let work = try prepared()
    try work.write(
      """
      rules:
        - match: {role: first_moment}
          action: quantize
          negative: lossless
          scheme: {map: linear, bits: 6, domain: update}
        - match: {role: second_moment}
          action: quantize
          negative: lossless
          scheme: {map: log, bits: 6, signed: false}

      """, "p.yaml")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "p.yaml"])
    let found = try stored(work, "s.qckpt")
    #expect(found["exp_avg/fc.w"] == "linear update" && found["exp_avg_sq/fc.w"] == "log value")
    // There is no dynamic map of six bits to fall back to.
    #expect(found["exp_avg/alone"] == "cubic value no_second_moment")
    #expect(found["exp_avg/bad.w"] == "cubic value second_moment_not_usable")
    let rows = try work.rows("s.qckpt", ["--codes"]).filter { $0["bits"] == .integer(6) }
    #expect(rows.count == 7)
    for row in rows {
      let histogram = try #require(row["codes"]?["histogram"]?.integers)
      #expect(histogram.count == 64 && histogram.reduce(0, +) >= 4095)
      // A scale for 128 elements, or two ends for 256.
      #expect(try #require(row["bits_per_value"]?.doubleValue) < 6.3)
    }
    let lines = try work.succeed(["inspect", "s.qckpt"]).lines.map { $0.split(separator: " ").joined(separator: " ") }
    for text in [
      "exp_avg/fc.w F32 4096 first_moment linear s6 block128 update ",
      "exp_avg_sq/fc.w F32 4096 second_moment log u6 block256 ",
    ] {
      #expect(lines.contains { $0.hasPrefix(text) }, "\(text)")
    }
    try work.succeed(["verify", "s.qckpt", "--against", "in"])
    try work.succeed(["decode", "s.qckpt", "-o", "d"])
    try work.succeed(["encode", "d", "-o", "again.qckpt", "--policy", "p.yaml"])
    try work.succeed(["decode", "again.qckpt", "-o", "second"])
    #expect(try work.read("second") == work.read("d"))
  }

  @Test func aPolicyThatDropsTheSecondMomentCannotDivideByIt() throws {
    let work = try prepared()
    try work.write("extends: adam8\ndrop: exp_avg_sq/*\n", "p")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "p"])
    let found = try stored(work, "s.qckpt")
    for name in ["exp_avg/embed.w", "exp_avg/fc.w", "exp_avg/bad.w"] {
      #expect(found[name] == "dynamic value second_moment_not_usable", "\(name)")
    }
    #expect(!found.keys.contains { $0.hasPrefix("exp_avg_sq/") })
    try work.succeed(["verify", "s.qckpt", "--against", "in"])
  }

  @Test func thePairOfTwoInputsIsAPair() throws {
    let work = try Workspace()
    try work.write(safetensors([.noise("exp_avg/w", count: 4096, seed: 1)]), "m")
    try work.write(safetensors([.noise("exp_avg_sq/w", count: 4096, seed: 2, signed: false)]), "v")
    for inputs in [["m", "v"], ["v", "m"]] {
      try work.succeed(["encode"] + inputs + ["-o", "s.qckpt"])
      #expect(try stored(work, "s.qckpt") == ["exp_avg/w": "cubic update", "exp_avg_sq/w": "log value"])
    }
  }

  @Test(
    arguments: ["adam8", "adam4", "paper8", "paper4", "live8", "live4"].map { [$0] }
      + ["0.001", "0.02", "0.1", "0.3", "0.6"].map { ["adamq", "--quality", $0] })
  func savingWhatWasLoadedChangesNothing(policy: [String]) throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "0", "--policy"] + policy)
    try work.succeed(["decode", "0", "-o", "first"])
    for cycle in 0..<3 {
      try work.succeed(["encode", "\(cycle)", "-o", "\(cycle + 1)", "--policy"] + policy)
      try work.succeed(["decode", "\(cycle + 1)", "-o", "again"])
      #expect(try work.read("again") == work.read("first"), "cycle \(cycle)")
    }
  }
}
