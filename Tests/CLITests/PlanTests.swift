import Foundation
import QCheckpoint
import Testing

/// `qcodec plan`.
@Suite struct PlanTests {
  @discardableResult private func plan(_ work: Workspace, _ arguments: [String]) throws -> JSONValue {
    try work.succeed(["plan", Fixture.real] + arguments + ["--json"]).json()
  }

  @Test func plansBeatOrEqualThePresetsOfTheirBits() throws {
    let work = try Workspace()
    for (bits, preset) in [("8.5", "adam4"), ("16.25", "adam8")] {
      let document = try plan(work, ["--target-bits", bits])
      let own = try #require(document["update_rel_l2"]?.doubleValue)
      let other = try #require(document["presets"]?[preset])
      #expect(own <= other["update_rel_l2"]?.doubleValue ?? 0, "\(preset)")
      #expect(document["bits_per_parameter"]?.doubleValue ?? .infinity <= Double(bits) ?? 0)
      #expect(document["met"] == .bool(true) && document["sampled"] == .bool(false))
      #expect(document["tensors"]?.arrayValue?.count == 6)
    }
  }

  /// The lesser budgets take widths beside 4 and 8 bits.
  @Test(arguments: ["5", "6.3", "10"]) func encodeDoesWhatWasPlanned(bits budget: String) throws {
    let work = try Workspace()
    let document = try plan(work, ["--target-bits", budget, "-o", "p.json"])
    try work.succeed(["encode", Fixture.real, "-o", "s.qckpt", "--policy", "p.json"])
    let rows = try #require(try work.succeed(["inspect", "s.qckpt", "--json"]).json()["tensors"]?.arrayValue)
    var bits = 0.0
    for planned in try #require(document["tensors"]?.arrayValue) {
      let row = try #require(rows.first { $0["name"] == planned["name"] })
      for key in ["map", "bits", "block", "domain"] where planned["scheme"] != .null {
        #expect(row[key] == planned["scheme"]?[key], "\(key)")
      }
      let elements = try #require(row["shape"]?.integers).reduce(1, *)
      bits += try #require(planned["bits_per_value"]?.doubleValue) * Double(elements)
    }
    let parameters = try #require(document["parameters"]?.doubleValue)
    #expect(abs(bits / parameters - (document["bits_per_parameter"]?.doubleValue ?? 0)) < 1e-9)
    let widths = try #require(document["tensors"]?.arrayValue).compactMap { $0["scheme"]?["bits"]?.doubleValue }
    #expect(budget == "10" || widths.contains { $0 != 4 && $0 != 8 }, "\(widths)")
    // What verify finds over pairs that were planned, and smaller ones, which are lossless and so make it no greater.
    let error = try #require(document["update_rel_l2"]?.doubleValue)
    try work.succeed(["verify", "s.qckpt", "--against", Fixture.real, "--max-update-error", "\(error * 1.001)"])
    #expect(
      try work.run(["verify", "s.qckpt", "--against", Fixture.real, "--max-update-error", "\(error / 2)"]).status == 1)
  }

  @Test func errorsAreKept() throws {
    let work = try Workspace()
    try plan(work, ["--max-update-error", "0.02", "-o", "p.json"])
    try work.succeed(["encode", Fixture.real, "-o", "s.qckpt", "--policy", "p.json"])
    try work.succeed(["verify", "s.qckpt", "--against", Fixture.real, "--max-update-error", "0.02"])
    try plan(work, ["--max-rel-l2", "0.01", "-o", "p.json"])
    try work.succeed(["encode", Fixture.real, "-o", "s.qckpt", "--policy", "p.json"])
    try work.succeed(["verify", "s.qckpt", "--against", Fixture.real, "--max-rel-l2", "0.01"])
    try plan(work, ["--max-abs-error", "1e-5", "-o", "p.json"])
    try work.succeed(["encode", Fixture.real, "-o", "s.qckpt", "--policy", "p.json"])
    try work.succeed(["verify", "s.qckpt", "--against", Fixture.real, "--max-abs", "1e-5"])
  }

  @Test func filesFitTheirSize() throws {
    let work = try Workspace()
    try work.succeed(["encode", Fixture.real, "-o", "least.qckpt", "--policy", "adam4", "--compression", "zstd"])
    let least = try Fixture.bytes(work.path("least.qckpt")).count
    let limit = least * 3 / 2
    let arguments = ["--target-size", "\(limit)", "--compression", "zstd", "-o", "p.json"]
    let document = try plan(work, arguments)
    try work.succeed(["encode", Fixture.real, "-o", "s.qckpt", "--policy", "p.json", "--compression", "zstd"])
    let bytes = try Fixture.bytes(work.path("s.qckpt")).count
    #expect(bytes <= limit && bytes > limit * 9 / 10)
    // The stored policy's name is part of the file.
    #expect(abs(Double(bytes) - (document["file_bytes"]?.doubleValue ?? 0)) < 64)
  }

  @Test func whatCannotBeMetIsSaid() throws {
    let work = try Workspace()
    let outcome = try work.run(["plan", Fixture.real, "--target-bits", "2", "-o", "p.json"])
    #expect(outcome.status == 1 && outcome.text == "")
    #expect(outcome.errors.contains("no plan keeps --target-bits 2.0: the nearest has"))
    #expect(!FileManager.default.fileExists(atPath: work.path("p.json")))
    #expect(try work.run(["plan", Fixture.real, "--target-size", "10"]).status == 1)
    try work.write(safetensors([Tensor("weight", [1, 2])]), "none")
    try work.fail(
      ["plan", "none", "--target-bits", "8"], 3,
      "none: there are no moments of 4,096 elements and more: nothing to plan")
  }

  @Test func usage() throws {
    let work = try Workspace()
    for arguments in [
      [], ["--target-bits", "8", "--max-rel-l2", "1"], ["--target-bits", "-1"], ["--target-size", "12parsecs"],
      ["--max-rel-l2", "0.1", "--sample", "0.5"], ["--target-bits", "8", "--sample", "0"],
    ] {
      #expect(try work.run(["plan", Fixture.real] + arguments).status == 2, "\(arguments)")
    }
  }
}
