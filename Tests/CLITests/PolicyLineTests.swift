import Testing

/// Errors in a policy file name the line.
@Suite struct PolicyLineTests {
  private func work(_ policy: String) throws -> Workspace {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    try work.write(policy, "p")
    return work
  }

  private func refuse(_ policy: String, _ line: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try work(policy).fail(
      ["encode", "in", "-o", "out", "--policy", "p"], 3, "p: \(line)", sourceLocation: sourceLocation)
  }

  @Test(arguments: [
    ("{\"rules\": [],\n\"ü\": }", "unexpected byte 0x7d in JSON (line 2, column 6)"),
    ("\n\n {\"rules\": []\n", "expected ',' or '}' (line 4, column 1)"),
    ("{\"rules\": [],\n \"name\": \"a\",\n \"rules\": []}", "duplicate key \"rules\" (line 3, column 2)"),
    ("{\"rules\": []}\n}", "bytes follow the JSON value (line 2, column 1)"),
    ("rules:\n - a: [\n", "the policy is not valid YAML: did not find expected node content (line 3, column 1)"),
    ("name: x\nrules: 'abc\n", "the policy is not valid YAML: found unexpected end of stream (line 3, column 1)"),
    ("name: a\nrules: *b\n", "the policy is not valid YAML: found undefined alias (line 2, column 8)"),
    ("x: 1\nname: a\nrules: []\nname: b\n", "duplicate key 'name' in the policy (first on line 2)"),
    ("rules: []\n1: a\n\"1\": b\n", "duplicate key '1' in the policy (line 3)"),
    ("rules: []\n? [a, b]\n: 1\n", "a key of the policy is no string (line 2)"),
  ])
  func syntax(policy: String, line: String) throws { try refuse(policy, line) }

  @Test func whatIsNoText() throws {
    let work = try work("")
    try work.write(Array("name: x\nrules: []\n# ".utf8) + [0xFF, 0x0A], "p")
    try work.fail(
      ["encode", "in", "-o", "out", "--policy", "p"], 3, "p: the policy is not valid UTF-8 (line 3)")
    try work.write(Array("{\n\"name\": \"".utf8) + [0xFF] + Array("\"}".utf8), "p")
    try work.fail(
      ["encode", "in", "-o", "out", "--policy", "p"], 3,
      "p: a JSON string is not valid UTF-8 (line 2, column 9)")
  }

  private static let yaml = """
    name: mine
    extends: adam8
    keep_lossless: ["*embed*"]
    rules:
      - match: {name: "a*"}
        action: lossless
      - match:
          role:
            - first_moment
            - second_moment
          min_dims: 2
          max_dims: 3
        action: quantize
        scheme:
          map: linear
          bits: 8
          block: 64
        compression: zstd

    """

  private static let json = """
    {
    \t"name": "mine", "extends": "adam8",
    \t"keep_lossless": ["*embed*"],
      "rules": [
        {"match": {"name": "a*"}, "action": "lossless"},
        {
          "match": {
            "role": ["first_moment", "second_moment"],
            "min_dims": 2,
            "max_dims": 3
          },
          "action": "quantize",
          "scheme": {
            "map": "linear",
            "bits": 8,
            "block": 64
          },
          "compression": "zstd"
        }
      ]
    }

    """

  @Test(arguments: [
    ("mine", "mine", ""), ("adam8", "adam9", "policy.extends is"), ("*embed*", "[embed", "policy.keep_lossless"),
    ("name: mine", "title: mine", "policy.title is unknown"), ("lossless\n", "keep\n", "policy.rules[0].action is"),
    ("second_moment", "moment", "policy.rules[1].match.role is \"moment\""),
    ("min_dims", "least", "policy.rules[1].match.least is unknown"),
    ("max_dims: 3", "max_dims: 1", "policy.rules[1].match.min_dims is above max_dims"),
    ("action: quantize", "negative: error", "policy.rules[1].action is missing"),
    ("map: linear", "map: quartic", "policy.rules[1].scheme.map is"),
    ("bits: 8", "bits: 7", "policy.rules[1].scheme.bits is to be"),
    ("block: 64", "block: 65", "policy.rules[1].scheme: a block is"),
    ("zstd", "gzip", "policy.rules[1].compression is"),
  ])
  func contents(old: String, new: String, message: String) throws {
    let lines = [
      "": 0, "policy.extends is": 2, "policy.keep_lossless": 3, "policy.title is unknown": 1,
      "policy.rules[0].action is": 6, "policy.rules[1].match.role is \"moment\"": 8,
      "policy.rules[1].match.least is unknown": 11, "policy.rules[1].match.min_dims is above max_dims": 11,
      "policy.rules[1].action is missing": 7, "policy.rules[1].scheme.map is": 15,
      "policy.rules[1].scheme.bits is to be": 16, "policy.rules[1].scheme: a block is": 14,
      "policy.rules[1].compression is": 18,
    ]
    try expect(Self.yaml.replacing(old, with: new), message, line: lines[message])
    guard Self.json.contains(old) else { return }
    let jsonLines = [
      "": 0, "policy.extends is": 2, "policy.keep_lossless": 3, "policy.rules[0].action is": 5,
      "policy.rules[1].match.role is \"moment\"": 8, "policy.rules[1].match.least is unknown": 9,
      "policy.rules[1].compression is": 18,
    ]
    try expect(Self.json.replacing(old, with: new), message, line: jsonLines[message])
  }

  private func expect(_ policy: String, _ message: String, line: Int?) throws {
    let outcome = try work(policy).run(["encode", "in", "-o", "out", "--policy", "p"])
    guard !message.isEmpty else { return #expect(outcome.status == 0, "\(outcome.errors)") }
    let line = try #require(line)
    #expect(outcome.status == 3)
    #expect(outcome.errors.hasPrefix("qcodec: p: \(message)"), "\(outcome.errors)")
    #expect(outcome.errors.hasSuffix(" (line \(line))\n"), "\(outcome.errors)")
  }

  @Test func thePolicyAsAWholeAndWhatYamlAloneHas() throws {
    try refuse("# nothing\n- 1\n", "policy is to be an object, not an array (line 2)")
    try refuse("\n\nname: x\n", "policy.rules is missing, and so is extends (line 3)")
    try refuse("", "the policy is empty")
    // An anchor's errors are where it stands.
    try refuse(
      "rules:\n - action: quantize\n   scheme: &s\n    map: linear\n    bits: 7\n - {action: quantize, scheme: *s}\n",
      "policy.rules[0].scheme.bits is to be 2, 3, 4, 5, 6 or 8 (line 5)")
    let layers = (1...30).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined()
    try refuse("a0: &a0 [1]\n\(layers)", "the policy has more than 100000 values")
    // A key that is 2^30 values took as many steps to compare.
    try refuse("a0: &a0 [1]\n\(layers)? *a30\n: 1\n", "the policy has more than 100000 values")
  }

  /// Each value of the list had a path of its own, as long as the key.
  @Test func aLongKeyTakesNoMoreThanItsLength() throws {
    let elements = String(repeating: "1,", count: 50_000)
    let policy = "? \(String(repeating: "k", count: 1 << 20))\n: [\(elements)1]\n"
    try refuse(policy, "policy.rules is missing, and so is extends (line 1)")
  }
}
