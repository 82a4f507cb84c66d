import QCheckpoint
import Testing

/// Status 1: the files are sound, and do not agree.
@Suite struct VerifyFailureTests {
  private static let coarse =
    #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 4, "scaling": "tensor"}}]}"#

  /// `s.qckpt`, lossless, and `q.qckpt`, quantized in steps of 1/7, both of `in`.
  private func prepared() throws -> Workspace {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [7, 2, 3, 0.25])]), "in")
    try work.write(Self.coarse, "p.json")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    try work.succeed(["encode", "in", "-o", "q.qckpt", "--policy", "p.json"])
    return work
  }

  @Test func anotherOriginalIsRefused() throws {
    let work = try prepared()
    let lossless = "s.qckpt: 1 violation; the first: "
    try work.write(safetensors([Tensor("x", [7, 2, 4, 0.25])]), "value")
    try work.fail(
      ["verify", "s.qckpt", "--against", "value"], 1,
      lossless + "a lossless element differs, expected 4.0, got 3.0, bound 0.0 (tensor 'x', element 2)")
    try work.write(safetensors([Tensor("x", "F32", [2, 2], littleEndian([7, 2, 3, 0.25]))]), "shape")
    try work.fail(
      ["verify", "s.qckpt", "--against", "shape"], 1,
      lossless + "the original is F32 [2, 2], the checkpoint F32 [4] (tensor 'x')")
    try work.write(safetensors([Tensor("x", "I32", [4], littleEndian([7, 2, 3, 0.25]))]), "dtype")
    try work.fail(
      ["verify", "s.qckpt", "--against", "dtype"], 1,
      lossless + "the original is I32 [4], the checkpoint F32 [4] (tensor 'x')")
    try work.write(safetensors([Tensor("x", [7, 2, 3, 0.25]), Tensor("y", [1])]), "more")
    try work.fail(
      ["verify", "s.qckpt", "--against", "more"], 1, lossless + "the checkpoint has no such tensor (tensor 'y')")
    try work.write(safetensors([]), "less")
    try work.fail(
      ["verify", "s.qckpt", "--against", "less"], 1, lossless + "the original has no such tensor (tensor 'x')")
  }

  @Test func anElementBeyondItsBoundIsNamed() throws {
    let work = try prepared()
    try work.write(safetensors([Tensor("x", [7, 2, 3, 0.75])]), "other")
    let outcome = try work.run(["verify", "q.qckpt", "--against", "other", "--json"])
    #expect(outcome.status == 1)
    let first = try outcome.json()["first_violation"]
    #expect(first?["tensor"] == .string("x"))
    #expect(first?["index"] == .integer(3))
    #expect(first?["expected"]?.doubleValue == 0.75)
    #expect(first?["got"]?.doubleValue == 0)
    let bound = try #require(first?["bound"]?.doubleValue)
    #expect(bound >= 0.5 && bound < 0.5001)
    #expect(
      outcome.errors
        == "qcodec: q.qckpt: 1 violation; the first: an element exceeds its bound, expected 0.75, got 0.0, "
        + "bound \(bound) (tensor 'x', element 3)\n")
  }

  @Test func limitsOfOnesOwnAreKept() throws {
    let work = try prepared()
    // 0.25 decodes to 0 and the rest exactly.
    let error = 0.25
    let relative = 0.25 / (49 + 4 + 9 + 0.0625).squareRoot()
    for against in [[], ["--against", "in"]] {
      let verify = ["verify", "q.qckpt"] + against
      try work.succeed(verify + ["--max-abs", "\(error)", "--max-rel-l2", "\(relative)"])
      try work.fail(
        verify + ["--max-abs", "0.2"], 1,
        "q.qckpt: 1 violation; the first: the largest error is above the limit, got 0.25, bound 0.2 (tensor 'x')")
      try work.fail(
        verify + ["--max-rel-l2", "0"], 1,
        "q.qckpt: 1 violation; the first: the relative L2 error is above the limit, got \(relative), bound 0.0 "
          + "(tensor 'x')")
      let both = try work.run(verify + ["--max-abs", "0", "--max-rel-l2", "0", "--json"])
      #expect(both.status == 1)
      #expect(try both.json()["violations"] == .integer(2))
      #expect(try both.json()["ok"] == .bool(false))
    }
    try work.succeed(["verify", "s.qckpt", "--max-abs", "0", "--max-rel-l2", "0", "--against", "in"])
  }

  @Test func theRealStateIsToldFromItsCoarserSelf() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "8.qckpt", "--policy", "paper8"])
    try work.succeed(["encode", "in.safetensors", "-o", "4.qckpt", "--policy", "paper4"])
    let outcome = try work.run(["verify", "8.qckpt", "--against", "4.qckpt", "--json", "--quiet"])
    #expect(outcome.status == 1)
    let document = try outcome.json()
    let rows = try #require(document["tensors"]?.arrayValue)
    let total = rows.reduce(0) { $0 + ($1["violations"]?.integerValue ?? 0) }
    #expect(document["violations"] == .integer(total))
    // The six quantized tensors differ, and no lossless one.
    #expect(rows.filter { $0["violations"] != .integer(0) }.count == 6)
    #expect(
      rows.filter { $0["guaranteed_max_abs_error"]?.doubleValue == 0 && $0["violations"] == .integer(0) }.count == 7)
  }

  @Test func nanEqualsNaNBitForBit() throws {
    let work = try Workspace()
    let quiet = Float(bitPattern: 0x7FC0_0001), other = Float(bitPattern: 0x7FC0_0002)
    try work.write(safetensors([Tensor("x", [1, quiet])]), "in")
    try work.write(safetensors([Tensor("x", [1, other])]), "other")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    try work.succeed(["verify", "s.qckpt", "--against", "in"])
    let outcome = try work.run(["verify", "s.qckpt", "--against", "other", "--json"])
    #expect(outcome.status == 1)
    // What is not finite is null.
    let first = try outcome.json()["first_violation"]
    #expect(first?["index"] == .integer(1))
    #expect(first?["expected"] == .null && first?["got"] == .null)
  }
}
