import QCheckpoint
import Testing

@Suite struct InspectTests {
  /// Four elements with the codes 7, 7, 2 and 1 above zero, of 7.
  private func fourCodes() throws -> Workspace {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [7, 7, 2, 1]), Tensor("n", "I32", [1], [1, 0, 0, 0])]), "in")
    try work.write(
      #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 4, "scaling": "tensor"}}]}"#, "p.json")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "p.json"])
    return work
  }

  @Test func codesAreCounted() throws {
    let work = try fourCodes()
    let rows = try work.rows("s.qckpt", ["--codes"])
    #expect(rows.map { $0["name"]?.stringValue } == ["n", "x"])
    #expect(rows[0]["codes"] == nil)
    var histogram = [Int](repeating: 0, count: 16)
    (histogram[14], histogram[9], histogram[8]) = (2, 1, 1)
    #expect(rows[1]["codes"]?["histogram"]?.integers == histogram)
    // 2/4, 1/4 and 1/4.
    #expect(rows[1]["codes"]?["entropy"]?.doubleValue == 1.5)
    #expect(try work.rows("s.qckpt").allSatisfy { $0["codes"] == nil })
    let lines = try work.succeed(["inspect", "s.qckpt", "--codes"]).lines
    #expect(lines.contains("x: entropy 1.500 bits a code, 3 of 16 codes used"))
    #expect(lines.contains("       14  \(String(repeating: "#", count: 40)) 2"))
    #expect(lines.contains("        9  \(String(repeating: "#", count: 20)) 1"))
  }

  @Test func fewCodesHaveABarEach() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 1, 0, -1])]), "in")
    try work.write(
      #"{"rules": [{"action": "quantize", "scheme": {"map": "linear", "bits": 2, "scaling": "tensor"}}]}"#, "p.json")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "p.json"])
    #expect(try work.rows("s.qckpt", ["--codes"])[0]["codes"]?["histogram"]?.integers == [1, 1, 2, 0])
    let lines = try work.succeed(["inspect", "s.qckpt", "--codes"]).lines
    #expect(lines.contains("x: entropy 1.500 bits a code, 3 of 4 codes used"))
    #expect(lines.suffix(4).map { $0.split(separator: " ").first } == ["0", "1", "2", "3"])
  }

  @Test func everyCodeOfTheRealStateIsCounted() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    for row in try work.rows("s.qckpt", ["--codes"]) where row["encoding"]?.stringValue == "quantized" {
      let histogram = try #require(row["codes"]?["histogram"]?.integers)
      let elements = try #require(row["shape"]?.integers).reduce(1, *)
      #expect(histogram.count == 256 && histogram.reduce(0, +) == elements)
      let entropy = try #require(row["codes"]?["entropy"]?.doubleValue)
      #expect(entropy > 4 && entropy < 8)
    }
  }

  @Test func globsChooseRowsAndLeaveTheSummary() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    let all = try work.rows("s.qckpt")
    for globs in [["exp_avg/*"], ["*.bias", "rng/torch"], ["*"], ["rng/torch", "rng/torch"]] {
      let options = globs.flatMap { ["--tensor", $0] }
      let document = try work.succeed(["inspect", "s.qckpt", "--json"] + options).json()
      let patterns = try globs.map { try Glob($0) }
      let wanted = all.filter { row in patterns.contains { $0.matches(row["name"]?.stringValue ?? "") } }
      #expect(document["tensors"] == .array(wanted), "\(globs)")
      #expect(document["tensor_count"] == .integer(13))
      let lines = try work.succeed(["inspect", "s.qckpt"] + options).lines
      let heading = try #require(lines.firstIndex { $0.hasPrefix("tensor ") })
      #expect(lines.count == heading + 1 + wanted.count, "\(globs)")
    }
  }

  @Test func theTableSaysWhatTheDocumentSays() throws {
    let work = try fourCodes()
    let lines = try work.succeed(["inspect", "s.qckpt"]).lines
    #expect(lines[0].hasPrefix("s.qckpt: qcodec checkpoint, format "))
    #expect(lines[1].hasPrefix("2 tensors, 5 elements, 20 B in "))
    #expect(lines[2] == "policy custom")
    let rows = lines.dropFirst(4).map { $0.split(separator: " ").joined(separator: " ") }
    // A scale and two bytes of codes for four elements; none of these decodes with an error.
    #expect(
      rows == [
        "tensor dtype shape role stored as bits ratio max error guaranteed relative rel L2 zeros",
        "n I32 1 other lossless (dtype_not_quantizable) 32.000 1.00 0 0 0 0",
        "x F32 4 other linear s4 tensor 12.000 2.67 0 5.00e-01 0 0",
      ])
  }

  @Test func tenThousandTensorsAreALineEach() throws {
    let work = try Workspace()
    let tensors = (0..<10_000).map { Tensor("layer.\($0).exp_avg", "U8", [1], [UInt8($0 % 256)]) }
    try work.write(safetensors(tensors), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    let lines = try work.succeed(["inspect", "s.qckpt"]).lines
    let heading = try #require(lines.firstIndex { $0.hasPrefix("tensor ") })
    let rows = lines.dropFirst(heading + 1)
    #expect(rows.count == 10_000)
    #expect(rows.map { String($0.prefix { $0 != " " }) } == tensors.map(\.name).sorted())
    #expect(Set(rows.map(\.count)).count == 1)
    // A reader that has seen enough is no mishap to talk about.
    let cut = try work.shell("{ \"$Q\" inspect s.qckpt; echo $? >status; } | head -n 1")
    #expect(cut.lines == [lines[0]])
    #expect(cut.errors == "")
    #expect(try work.read("status") == Array("4\n".utf8))
  }

  @Test func aNameCannotBeginALine() throws {
    let work = try Workspace()
    let name = "a\nb\u{1B}[31m\tc\u{7F}"
    try work.write(safetensors([Tensor(name, [1])], metadata: ["k\r": "v\u{1B}]0;x\u{7}\nw"]), "in")
    for arguments in [["encode", "in", "--dry-run"], ["encode", "in", "-o", "s.qckpt"], ["inspect", "s.qckpt"]] {
      let text = try work.succeed(arguments).text
      let controls = text.unicodeScalars.filter { $0.value < 0x20 && $0 != "\n" || $0.value == 0x7F }
      #expect(controls.isEmpty, "\(arguments)")
    }
    let lines = try work.succeed(["inspect", "s.qckpt"]).lines
    #expect(lines.contains(#"k\r: v\u{1b}]0;x\u{7}\nw"#))
    #expect(lines.contains { $0.hasPrefix(#"a\nb\u{1b}[31m\tc\u{7f} "#) })
    #expect(try work.rows("s.qckpt")[0]["name"] == .string(name))
    try work.write(safetensors([]), "none")
    try work.fail(
      ["verify", "s.qckpt", "--against", "none"], 1,
      #"s.qckpt: 1 violation; the first: the original has no such tensor (tensor 'a\nb\u{1b}[31m\tc\u{7f}')"#)
  }
}
