import Foundation
import Testing

/// Status 4: the system does not give what is asked for. Nothing relies on permissions, which root does not have.
@Suite struct SystemFailureTests {
  private static let hasFullDevice = FileManager.default.fileExists(atPath: "/dev/full")

  private func prepared() throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    return work
  }

  @Test func whatIsNotThereCannotBeRead() throws {
    let work = try prepared()
    for name in ["missing", "no/folder", "in.safetensors/x"] {
      let why = name == "in.safetensors/x" ? "Not a directory" : "No such file or directory"
      for arguments in [
        ["encode", name, "-o", "out"], ["encode", "in.safetensors", name, "-o", "out"], ["encode", name, "--dry-run"],
        ["decode", name, "-o", "out"], ["inspect", name], ["verify", name], ["verify", "s.qckpt", "--against", name],
      ] {
        try work.fail(arguments, 4, "\(name): cannot open: \(why)")
      }
    }
    try work.write(#"{"weight_map": {"x": "shard.safetensors"}}"#, "index.json")
    try work.fail(
      ["encode", "index.json", "-o", "out"], 4,
      "index.json: shard 'shard.safetensors': cannot open: No such file or directory")
  }

  @Test func foldersAreNoFiles() throws {
    let work = try prepared()
    try work.folder("d")
    for arguments in [
      ["encode", "d", "-o", "out"], ["inspect", "d"], ["decode", "d", "-o", "out"], ["verify", "d"],
    ] {
      try work.fail(arguments, 4, "d: not a regular file")
    }
    for arguments in [["encode", "in.safetensors", "-o", "d"], ["decode", "s.qckpt", "-o", "d"]] {
      try work.fail(arguments, 4, "d: cannot create: Is a directory")
    }
  }

  @Test func whereNothingCanBeCreated() throws {
    let work = try prepared()
    let cases = [
      ("no/out", "No such file or directory"), ("in.safetensors/out", "Not a directory"),
      ("/proc/out", "No such file or directory"),
    ]
    for (path, why) in cases {
      try work.fail(["encode", "in.safetensors", "-o", path], 4, "\(path): cannot create: \(why)")
      try work.fail(["decode", "s.qckpt", "-o", path], 4, "\(path): cannot create: \(why)")
    }
  }

  /// Small and large: full at the end, full on the way.
  @Test(.enabled(if: hasFullDevice, "needs /dev/full"), arguments: Fixture.presets)
  func aFullDeviceIsNamed(policy: String) throws {
    let work = try prepared()
    let arguments = ["encode", "in.safetensors", "-o", "/dev/full", "--policy", policy]
    let before = try work.contents()
    for arguments in [arguments, ["decode", "s.qckpt", "-o", "/dev/full"]] {
      let outcome = try work.run(arguments)
      #expect(outcome.status == 4)
      #expect(outcome.errors.hasPrefix("qcodec: /dev/full: cannot write: No space left on device"))
      #expect(outcome.errors.split(separator: "\n").count == 1)
    }
    #expect(try work.contents() == before)
  }

  /// A limit on file sizes is a full disk that needs no device. ThreadSanitizer would write a file of its own to TMPDIR, and
  /// crash for it.
  @Test func aFullDiskLeavesTheEarlierFile() throws {
    let work = try prepared()
    try work.write("earlier", "out")
    let before = try work.contents()
    for (command, blocks) in [
      ("encode in.safetensors -o out", 16), ("encode in.safetensors -o out --policy lossless", 2200),
      ("decode s.qckpt -o out", 16), ("decode s.qckpt -o out", 2500),
    ] {
      let outcome = try work.shell("ulimit -f \(blocks); TMPDIR=/nowhere exec \"$Q\" \(command)")
      #expect(outcome.status == 4, "\(command)")
      #expect(outcome.errors.hasPrefix("qcodec: out: cannot write: File too large"), "\(outcome.errors)")
      #expect(outcome.errors.split(separator: "\n").count == 1, "\(command)")
      #expect(try work.contents() == before, "\(command)")
    }
  }

  @Test func aReaderThatGoesAwayIsAnError() throws {
    let work = try prepared()
    for command in ["encode in.safetensors -o -", "decode s.qckpt -o -", "encode in.safetensors -o /dev/stdout"] {
      let outcome = try work.shell("{ \"$Q\" \(command) --quiet; echo $? >status; } | head -c 1 >/dev/null")
      #expect(try work.read("status") == Array("4\n".utf8), "\(command)")
      let name = command.split(separator: " ").last ?? ""
      #expect(outcome.errors.hasPrefix("qcodec: \(name): cannot write: Broken pipe"), "\(outcome.errors)")
      #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)")
    }
  }

  @Test func standardOutputMayBeFullOrClosed() throws {
    let work = try prepared()
    try work.write(safetensors([Tensor("x", [1])]), "small")
    try work.succeed(["encode", "small", "-o", "small.qckpt"])
    for command in [
      "inspect s.qckpt", "inspect s.qckpt --json", "verify small.qckpt", "verify small.qckpt --json", "--version",
    ] {
      for target in [">&-"] + (Self.hasFullDevice ? [">/dev/full"] : []) {
        let outcome = try work.shell("\"$Q\" \(command) \(target)")
        #expect(outcome.status == 4, "\(command) \(target)")
        #expect(outcome.errors == "qcodec: standard output: cannot write\n", "\(command) \(target)")
      }
    }
    for command in ["encode in.safetensors -o -", "encode - -o - <in.safetensors", "decode s.qckpt -o -"] {
      let outcome = try work.shell("\"$Q\" \(command) >&-")
      #expect(outcome.status == 4, "\(command)")
      #expect(outcome.errors.hasPrefix("qcodec: -: cannot write: Bad file descriptor"), "\(outcome.errors)")
    }
  }

  @Test func standardInputMayBeClosed() throws {
    let work = try prepared()
    for command in ["encode - -o out", "inspect -", "verify -", "decode - -o out", "verify s.qckpt --against -"] {
      let outcome = try work.shell("\"$Q\" \(command) <&-")
      #expect(outcome.status == 4, "\(command)")
      #expect(outcome.errors == "qcodec: -: cannot spool standard input\n", "\(command)")
    }
    #expect(try work.names() == ["in.safetensors", "s.qckpt"])
    // With nowhere to complain the status is all there is, and no file gets the complaint.
    #expect(try work.shell("\"$Q\" encode in.safetensors -o no/out 0<&- 1>&- 2>&-").status == 4)
    #expect(try work.shell("\"$Q\" encode in.safetensors -o out --quiet 0<&- 1>&- 2>&-").status == 0)
    #expect(try work.read("out") == work.read("s.qckpt"))
    #expect(try work.read("in.safetensors") == Fixture.bytes(Fixture.real))
  }

  @Test func theSpoolNeedsAFolder() throws {
    let work = try prepared()
    let outcome = try work.run(["inspect", "-"], input: "s.qckpt", environment: ["TMPDIR": "/proc/nowhere"])
    #expect(outcome.status == 4)
    #expect(outcome.errors == "qcodec: cannot create a temporary file in /proc/nowhere\n")
  }
}
