import Foundation
import QCheckpoint
import Testing

/// The main job on a real state under every preset.
@Suite struct PresetTests {
  private func encoded(_ policy: String) throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt", "--policy", policy])
    return work
  }

  @Test(arguments: Fixture.presets) func encodeSaysWhatItDid(policy: String) throws {
    let work = try Workspace()
    try work.copyReal()
    let outcome = try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt", "--policy", policy, "--json"])
    let document = try outcome.json()
    #expect(document["tensors"]?.integerValue == 13)
    #expect(document["elements"]?.integerValue == 461_440)
    #expect(document["input_bytes"]?.integerValue == 1_830_592)
    let size = try work.read("s.qckpt").count
    #expect(document["output_bytes"]?.integerValue == Int64(size))
    #expect(document["ratio"]?.doubleValue == 1_830_592 / Double(size))
    #expect(try work.names() == ["in.safetensors", "s.qckpt"])
  }

  @Test(arguments: Fixture.presets) func theResultVerifies(policy: String) throws {
    let work = try encoded(policy)
    for arguments in [[], ["--against", "in.safetensors"]] {
      let document = try work.succeed(["verify", "s.qckpt", "--json"] + arguments).json()
      #expect(document["ok"] == .bool(true))
      #expect(document["violations"] == .integer(0))
      #expect(document["first_violation"] == .null)
      #expect(document["tensors"]?.arrayValue?.count == 13)
    }
  }

  /// Every element of every tensor lies within what `inspect` promises, by arithmetic of the test's own.
  @Test(arguments: Fixture.presets) func whatDecodesIsWithinTheStatedBound(policy: String) throws {
    let work = try encoded(policy)
    try work.succeed(["decode", "s.qckpt", "-o", "out.safetensors"])
    let (before, after) = try (TensorFile(path: Fixture.real), TensorFile(path: work.path("out.safetensors")))
    #expect(after.metadata == before.metadata)
    #expect(after.tensors.keys.sorted() == before.tensors.keys.sorted())
    let rows = try work.rows("s.qckpt")
    for row in rows {
      let name = try #require(row["name"]?.stringValue)
      let (old, new) = try (#require(before.tensors[name]), #require(after.tensors[name]))
      #expect(new.dtype == old.dtype && new.shape == old.shape, "\(name)")
      if row["encoding"]?.stringValue == "lossless" {
        #expect(new == old, "\(name)")
        continue
      }
      let bound = try #require(row["guaranteed_max_abs_error"]?.doubleValue)
      let worst = zip(old.values, new.values).map { (Double($0) - Double($1)).magnitude }.max() ?? 0
      #expect(worst <= bound, "\(name)")
      #expect(row["max_abs_error"]?.doubleValue == worst, "\(name)")
    }
  }

  @Test func schemesAreThoseOfThePresets() throws {
    let first8 = "first_moment dynamic 8 true block 256", second8 = "second_moment dynamic 8 false block 256"
    let first4 = "first_moment dynamic 4 true block 128", second4 = "second_moment linear-nozero 4 false rank1 null"
    let live8 = [first8, "second_moment log 8 false block 512"],
      live4 = [first4, "second_moment log 4 false block 256"]
    for (policy, wanted) in [
      ("paper8", [first8, second8]), ("paper4", [first4, second4]), ("live8", live8), ("live4", live4),
      ("lossless", []),
    ] {
      let work = try encoded(policy)
      let document = try work.succeed(["inspect", "s.qckpt", "--json"]).json()
      #expect(document["policy"]?["name"]?.stringValue == policy)
      let rows = try #require(document["tensors"]?.arrayValue).filter { $0["encoding"]?.stringValue == "quantized" }
      // Two of the six are those of an embedding.
      let count = policy == "lossless" ? 0 : policy.hasPrefix("live") ? 4 : 6
      #expect(rows.count == count, "\(policy)")
      let schemes = rows.map { row in
        ["role", "map", "bits", "signed", "scaling", "block"]
          .map { row[$0].map { $0.stringValue ?? $0.serialized() } ?? "absent" }.joined(separator: " ")
      }
      #expect(Set(schemes) == Set(wanted), "\(policy)")
    }
  }

  @Test func momentsTakeTheBitsThatTheReadmeStates() throws {
    // A code, and a float32 for each block; rank1 stores one for each row and column.
    let blocks = ["paper8": 8 + 32.0 / 256, "paper4": 4 + 32.0 / 128]
    for policy in ["paper8", "paper4"] {
      let work = try encoded(policy)
      let document = try work.succeed(["inspect", "s.qckpt", "--json"]).json()
      for row in try #require(document["tensors"]?.arrayValue) where row["encoding"]?.stringValue == "quantized" {
        let shape = try #require(row["shape"]?.integers)
        let rank1 = 4 + 32 * Double(shape.reduce(0, +)) / Double(shape.reduce(1, *))
        let wanted = row["scaling"]?.stringValue == "rank1" ? rank1 : blocks[policy]
        #expect(row["bits_per_value"]?.doubleValue == wanted, "\(policy) \(row["name"]?.stringValue ?? "")")
      }
    }
  }

  @Test func eachCommandSaysWhatItDidInALine() throws {
    let work = try Workspace()
    try work.copyReal()
    let encode = try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"]).lines
    let size = Double(try work.read("s.qckpt").count)
    let sizes = String(format: "1.75 MiB to %.1f KiB (%.2f times smaller), ", size / 1024, 1_830_592 / size)
    #expect(encode.count == 1 && encode[0].hasPrefix("s.qckpt: 13 tensors, 461440 elements, \(sizes)"), "\(encode)")
    let decode = try work.succeed(["decode", "s.qckpt", "-o", "out", "--tensor", "param/*"]).lines
    #expect(decode == ["out: 2 tensors, 147.9 KiB"])
    let update =
      "update m/(√v + 1e-08) of 5 pairs of moments: relative L2 error 6.06e-03, largest 8.22e-03; "
      + "0 second moments became zero, 0 first moments changed sign"
    for (options, how, more) in [
      ([], "every byte and guarantee checked", []),
      (["--against", "in.safetensors"], "every element within its bound", [update]),
    ] {
      let verify = try work.succeed(["verify", "s.qckpt"] + options).lines
      #expect(verify == ["s.qckpt: ok, 13 tensors, \(how), largest relative L2 error 5.81e-03"] + more)
    }
  }

  @Test func theDefaultIsAdam8() throws {
    let work = try encoded("adam8")
    try work.succeed(["encode", "in.safetensors", "-o", "default.qckpt"])
    #expect(try work.read("default.qckpt") == work.read("s.qckpt"))
  }
}
