import QCheckpoint
import Testing

/// Status 3: an input of the right kind that does not hold what it has to. An earlier output stays as it was.
@Suite struct InvalidInputTests {
  private static let linear = #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 8}}]}"#
  private static let unsigned =
    #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 4, "signed": false}}]}"#

  @Test func nonFiniteValuesAreNamed() throws {
    let work = try Workspace()
    try work.write("earlier", "out")
    try work.write(Self.linear, "p.json")
    for (value, text) in [(Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf")] {
      try work.write(safetensors([Tensor("a", [1, 2]), Tensor("b", [1, 2, 3, value, 5])]), "in")
      for options in [[], ["--dry-run"], ["--nonfinite", "error"]] {
        try work.fail(
          ["encode", "in", "-o", "out", "--policy", "p.json"] + options, 3,
          "in: \(text) cannot be quantized (tensor 'b', element 3)")
      }
    }
    // The same under a preset, far into a tensor of several chunks.
    var large = Tensor.noise("exp_avg/w", count: 600_000, seed: 4)
    large.bytes.replaceSubrange(4 * 599_999..<4 * 600_000, with: littleEndian([Float.nan]))
    try work.write(safetensors([large]), "in")
    try work.fail(
      ["encode", "in", "-o", "out"], 3, "in: nan cannot be quantized (tensor 'exp_avg/w', element 599999)")
  }

  @Test func aNegativeValueUnderAnUnsignedRuleIsNamed() throws {
    let work = try Workspace()
    try work.write("earlier", "out")
    try work.write(Self.unsigned, "p.json")
    try work.write(safetensors([Tensor("a", [1, 2]), Tensor("v", [1, 0, 3, -0.25, -1])]), "in")
    let arguments = ["encode", "in", "-o", "out", "--policy", "p.json"]
    try work.fail(arguments, 3, "in: -0.25 is negative and the map is unsigned (tensor 'v', element 3)")
    try work.fail(
      arguments + ["--nonfinite", "raw"], 3, "in: -0.25 is negative and the map is unsigned (tensor 'v', element 3)")
    // Zero with a sign is no negative value.
    try work.write(safetensors([Tensor("v", [1, -0.0])]), "in")
    try work.succeed(arguments)
  }

  @Test func aPolicyFileIsCheckedWhole() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    let cases = [
      ("{", "expected a key in quotes (line 1, column 2)"),
      ("{}", "policy.rules is missing, and so is extends (line 1)"),
      (#"{"rules": [{}]}"#, "policy.rules[0].action is missing (line 1)"),
      (#"{"rules": [{"action": "quantize"}]}"#, "policy.rules[0].scheme is missing (line 1)"),
      (
        "rules:\n  - action: quantize\n    scheme: {map: linear, bits: 7}\n",
        "policy.rules[0].scheme.bits is to be 2, 3, 4, 5, 6 or 8 (line 3)"
      ),
      ("rules:\n - a: [\n", "the policy is not valid YAML: did not find expected node content (line 3, column 1)"),
      ("", "the policy is empty"),
    ]
    for (text, line) in cases {
      try work.write(text, "policy")
      try work.fail(["encode", "in", "-o", "out", "--policy", "policy"], 3, "policy: \(line)")
    }
    for text in [#"{"rules": [], "rules": []}"#, #"{"rules": [], "extra": 1}"#, "rules: []\nrules: []\n", "- 1\n", "x"]
    {
      try work.write(text, "policy")
      let outcome = try work.run(["encode", "in", "-o", "out", "--policy", "policy"])
      #expect(outcome.status == 3, "\(text)")
      #expect(outcome.errors.hasPrefix("qcodec: policy: ") && outcome.errors.split(separator: "\n").count == 1)
      #expect(try work.names() == ["in", "policy"], "\(text)")
    }
  }

  @Test func twoTensorsOfOneNameAreNamedWithTheirFiles() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1]), Tensor("y", [1])]), "a")
    try work.write(safetensors([Tensor("z", [1]), Tensor("y", [1])]), "b")
    try work.write("earlier", "out")
    try work.fail(["encode", "a", "b", "-o", "out"], 3, "b: a holds a tensor of the same name (tensor 'y')")
    try work.fail(["encode", "a", "b", "--dry-run"], 3, "b: a holds a tensor of the same name (tensor 'y')")
    try work.fail(["encode", "a", "a", "-o", "out"], 3, "a: a holds a tensor of the same name (tensor 'x')")
  }

  @Test func damagedInputsAreRefused() throws {
    let work = try Workspace()
    try work.write("earlier", "out")
    let file = safetensors([Tensor("x", [1, 2, 3, 4])])
    try work.write(Array(file.dropLast(6)), "short.safetensors")
    try work.write(Array(file.prefix(7)), "tiny.safetensors")
    try work.write(file + [0], "long.safetensors")
    try work.write(littleEndian(UInt64(1 << 40)) + Array("{}".utf8), "header.safetensors")
    let array = npy([1, 2, 3], shape: "(3,)")
    try work.write(Array(array.dropLast()), "short.npy")
    try work.write(Array(array.prefix(9)), "tiny.npy")
    try work.write(npy([1], shape: "(2, 2)"), "shape.npy")
    try work.write(zip([(name: "a.npy", bytes: array)], crcError: true), "crc.npz")
    try work.write(zip([(name: "a.npy", bytes: array)], deflated: true, crcError: true), "crc2.npz")
    try work.write(Array(zip([(name: "a.npy", bytes: array)]).dropLast(5)), "short.npz")
    try work.write(file, "shard.safetensors")
    try work.write(#"{"weight_map": {"y": "shard.safetensors"}}"#, "lacks.json")
    try work.write(#"{"weight_map": {"x": "../shard.safetensors"}}"#, "outside.json")
    let names = try work.names().filter { $0 != "out" && $0 != "shard.safetensors" }
    let before = try work.contents()
    for name in names {
      let outcome = try work.run(["encode", name, "-o", "out"])
      #expect(outcome.status == 3, "\(name): \(outcome.errors)")
      #expect(outcome.errors.hasPrefix("qcodec: \(name): "), "\(outcome.errors)")
      #expect(outcome.errors.hasSuffix(")\n"), "no place: \(outcome.errors)")
      #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)")
      #expect(try work.contents() == before, "\(name)")
    }
    #expect(names.count == 12)
  }
}
