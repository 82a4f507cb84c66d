import Testing

/// Status 2: the command line is wrong, and nothing is read or written.
@Suite struct UsageTests {
  @Test func encodeRefusesWhatItCannotDo() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    let cases: [([String], String)] = [
      (["--output"], "Missing value for '--output <output>'"),
      ([], "--output is missing"),
      (["-o", "out", "--nonsense-xyzzy"], "Unknown option '--nonsense-xyzzy'"),
      (["-o", "out", "--threads", "0"], "--threads is to be 1 to 1024"),
      (["-o", "out", "--threads", "1025"], "--threads is to be 1 to 1024"),
      (["-o", "out", "--threads", "two"], "The value 'two' is invalid for '--threads <threads>'"),
      (["-o", "out", "--metadata", "novalue"], "--metadata takes KEY=VALUE, not 'novalue'"),
      (["-o", "out", "--stochastic", "x"], "The value 'x' is invalid for '--stochastic <seed>'"),
      (
        ["-o", "out", "--stochastic", "18446744073709551616"],
        "The value '18446744073709551616' is invalid for '--stochastic <seed>'"
      ),
      (
        ["-o", "out", "--compression", "gzip"],
        "The value 'gzip' is invalid for '--compression <compression>'. Please provide one of 'none', 'lz4' or 'zstd'"
      ),
      (
        ["-o", "out", "--scale", "max"],
        "The value 'max' is invalid for '--scale <scale>'. Please provide one of 'auto' and 'absmax'"
      ),
      (
        ["-o", "out", "--nonfinite", "skip"],
        "The value 'skip' is invalid for '--nonfinite <nonfinite>'. Please provide one of 'error' and 'raw'"
      ),
      (["-o", "-", "--json"], "standard output cannot hold both checkpoint and --json"),
    ]
    for (arguments, line) in cases {
      try work.fail(["encode", "in"] + arguments, 2, "\(line); see 'qcodec encode --help'")
    }
    try work.fail(["encode", "-o", "out"], 2, "Missing expected argument '<inputs> ...'; see 'qcodec encode --help'")
    try work.fail(["encode", "-", "-", "-o", "out"], 2, "standard input can be read once; see 'qcodec encode --help'")
    try work.fail(
      ["encode", "in", "-o", "out", "--policy", "paper9"], 2,
      "there is no policy or file 'paper9'; policies are adam8, adam4, adamq, paper8, paper4, live8, live4, lossless")
  }

  @Test func theOthersRefuseToo() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--quiet"])
    let cases: [([String], String)] = [
      (["decode", "s.qckpt"], "Missing expected argument '--output <output>'; see 'qcodec decode --help'"),
      (
        ["decode", "s.qckpt", "-o", "out", "--threads", "0"], "--threads is to be 1 to 1024; see 'qcodec decode --help'"
      ),
      (["decode", "s.qckpt", "-o", "out", "--tensor", "["], "the glob '[' holds a '[' without its ']'"),
      (["decode", "s.qckpt", "-o", "out", "--tensor", "y*"], "s.qckpt: no tensor matches y*"),
      (["decode", "s.qckpt", "s.qckpt", "-o", "out"], "Unexpected argument 's.qckpt'; see 'qcodec decode --help'"),
      (["inspect"], "Missing expected argument '<file>'; see 'qcodec inspect --help'"),
      (["inspect", "s.qckpt", "--tensor", "[b-a]"], "the glob '[b-a]' holds a range from high to low"),
      (["inspect", "s.qckpt", "--tensor", "a", "--tensor", "b"], "s.qckpt: no tensor matches a, b"),
      (["inspect", "s.qckpt", "-o", "out"], "Unknown option '-o'; see 'qcodec inspect --help'"),
      (
        ["verify", "s.qckpt", "--max-abs", "-1"], "Missing value for '--max-abs <max-abs>'; see 'qcodec verify --help'"
      ),
      (["verify", "s.qckpt", "--max-abs=-1"], "a limit is to be 0 or more; see 'qcodec verify --help'"),
      (["verify", "s.qckpt", "--max-rel-l2", "nan"], "a limit is to be 0 or more; see 'qcodec verify --help'"),
      (["verify", "-", "--against", "-"], "standard input can be read once; see 'qcodec verify --help'"),
      (["verify", "s.qckpt", "--threads", "0"], "--threads is to be 1 to 1024; see 'qcodec verify --help'"),
      (["compress"], "Unexpected argument 'compress'; see 'qcodec --help'"),
    ]
    for (arguments, line) in cases { try work.fail(arguments, 2, line) }
  }

  @Test func anOutputIsNoInput() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--quiet"])
    try #require(work.shell("ln -s in link && ln in twin && mkdir d && ln -s s.qckpt s.link").status == 0)
    for name in ["in", "./in", "d/../in", "link", "twin"] {
      try work.fail(["encode", "in", "-o", name], 2, "\(name): this is an input; choose another output")
      try work.fail(["encode", name, "-o", "in"], 2, "in: this is an input; choose another output")
    }
    for name in ["s.qckpt", "s.link"] {
      try work.fail(["decode", "s.qckpt", "-o", name], 2, "\(name): this is an input; choose another output")
    }
  }

  @Test func helpAndVersionAreNoErrors() throws {
    let work = try Workspace()
    #expect(try work.succeed(["--version"]).text.hasPrefix("qcodec 0."))
    for command in ["encode", "decode", "inspect", "verify", "plan", "report", "diff", "flatten", "hash", "bench"] {
      let text = try work.succeed([command, "--help"]).text
      #expect(text.contains("USAGE: qcodec \(command) "))
      #expect(try work.succeed(["help", command]).text == text)
      #expect(try work.succeed(["--help"]).text.contains("  \(command)"))
    }
  }

  @Test func thePolicyIsAnInput() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    try work.write(#"{"rules": [{"match": {}, "action": "lossless"}]}"#, "rules.json")
    try work.fail(
      ["encode", "in", "-o", "rules.json", "--policy", "./rules.json"], 2,
      "rules.json: this is an input; choose another output")
    // A preset's name stands for the preset, whatever files there are.
    try work.write("earlier", "paper4")
    try work.succeed(["encode", "in", "-o", "paper4", "--policy", "paper4"])
    try work.succeed(["verify", "paper4", "--against", "in"])
  }
}
