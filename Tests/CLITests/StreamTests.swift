import Testing

/// `-` for standard input and output, and what is printed beside a stream.
@Suite struct StreamTests {
  private func prepared() throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    try work.succeed(["decode", "s.qckpt", "-o", "out.safetensors"])
    return work
  }

  @Test func encodingAStreamGivesTheBytesOfTheFile() throws {
    let work = try prepared()
    let before = try work.contents().count
    try work.succeed(["encode", "-", "-o", "1"], input: "in.safetensors")
    #expect(try work.read("1") == work.read("s.qckpt"))
    // And nothing is left where it was spooled.
    #expect(try work.contents().count == before + 1)
    let piped = try work.shell("cat in.safetensors | \"$Q\" encode - -o 2 --quiet")
    #expect(piped.status == 0 && piped.errors == "")
    #expect(try work.read("2") == work.read("s.qckpt"))
  }

  @Test func encodingToAStreamGivesTheBytesOfTheFile() throws {
    let work = try prepared()
    let wanted = try work.read("s.qckpt")
    let toFile = try work.run(["encode", "in.safetensors", "-o", "-"])
    #expect(toFile.status == 0 && toFile.bytes == wanted)
    // What is said goes to the other stream.
    #expect(toFile.errors.hasPrefix("-: 13 tensors, 461440 elements, "))
    #expect(try work.succeed(["encode", "in.safetensors", "-o", "-", "--quiet"]).bytes == wanted)
    #expect(try work.succeed(["encode", "-", "-o", "-", "--quiet"], input: "in.safetensors").bytes == wanted)
    let piped = try work.shell("\"$Q\" encode in.safetensors -o - --quiet | cat")
    #expect(piped.bytes == wanted && piped.errors == "")
    #expect(try work.shell("\"$Q\" encode in.safetensors -o /dev/stdout --quiet | cat").bytes == wanted)
  }

  @Test func aNamedPipeIsWrittenToAndStays() throws {
    let work = try prepared()
    let outcome = try work.shell(
      "mkfifo p; cat p >got & \"$Q\" encode in.safetensors -o p --quiet && wait && test -p p")
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(try work.read("got") == work.read("s.qckpt"))
  }

  @Test func decodingAndReadingStreams() throws {
    let work = try prepared()
    let wanted = try work.read("out.safetensors")
    #expect(try work.succeed(["decode", "s.qckpt", "-o", "-", "--quiet"]).bytes == wanted)
    #expect(try work.run(["decode", "s.qckpt", "-o", "-"]).errors == "-: 13 tensors, 1.75 MiB\n")
    #expect(try work.succeed(["decode", "-", "-o", "-", "--quiet"], input: "s.qckpt").bytes == wanted)
    #expect(
      try work.succeed(["inspect", "-", "--json"], input: "s.qckpt").bytes
        == work.succeed(["inspect", "s.qckpt", "--json"]).bytes)
    #expect(try work.succeed(["verify", "-", "--quiet"], input: "s.qckpt").text == "")
    try work.succeed(["verify", "s.qckpt", "--against", "-"], input: "in.safetensors")
  }

  @Test func aRoundTripIsOnePipe() throws {
    let work = try prepared()
    let piped = try work.shell(
      "\"$Q\" encode - -o - --quiet <in.safetensors | \"$Q\" decode - -o - --quiet | cat >round")
    #expect(piped.status == 0 && piped.errors == "")
    #expect(try work.read("round") == work.read("out.safetensors"))
  }

  @Test func everyKindOfInputMayBeAStream() throws {
    let work = try Workspace()
    let tensor = Tensor("x", [1, 2, 3])
    let array = npy(tensor.values, shape: "(3,)")
    try work.write(safetensors([tensor]), "shard.safetensors")
    try work.write(#"{"weight_map": {"x": "shard.safetensors"}}"#, "index")
    try work.write(zip([(name: "x.npy", bytes: array)], deflated: true), "npz")
    try work.write(array, "npy")
    try work.succeed(["encode", "shard.safetensors", "-o", "qckpt"])
    for name in ["shard.safetensors", "index", "npz", "qckpt"] {
      try work.succeed(["encode", "-", "-o", "s"], input: name)
      #expect(try work.read("s") == work.read("qckpt"), "\(name)")
    }
    // An array in a stream has no name of its own.
    try work.succeed(["encode", "-", "-o", "s"], input: "npy")
    #expect(try work.rows("s").map { $0["name"]?.stringValue } == ["stdin"])
    try work.succeed(["encode", "-", "npy", "-o", "s"], input: "shard.safetensors")
    #expect(try work.rows("s").map { $0["name"]?.stringValue } == ["npy", "x"])
  }
}
