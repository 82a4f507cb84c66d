import QCheckpoint
import Testing

@Suite struct ReportTests {
  /// The real state and its checkpoint `s.qckpt`.
  private func prepared(policy: String = "adam8") throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt", "--policy", policy, "--measure-update"])
    return work
  }

  private func page(_ work: Workspace, _ name: String) throws -> String {
    String(decoding: try work.read(name), as: UTF8.self)
  }

  @Test(arguments: Fixture.presets) func everyPresetIsReported(policy: String) throws {
    let work = try prepared(policy: policy)
    let said = try work.succeed(["report", "s.qckpt", "-o", "r.html", "--against", "in.safetensors"])
    #expect(said.lines.count == 1 && said.text.hasPrefix("r.html: "))
    let page = try page(work, "r.html")
    #expect(page.contains(">Verified against the original<") && page.contains("policy \(policy)"))
    #expect(page.contains("Every one of the 13 tensors holds its recorded bound; "))
    // What verify measures, to three digits.
    let document = try work.succeed(["verify", "s.qckpt", "--against", "in.safetensors", "--json"]).json()
    let error = try #require(document["update_error"]?["rel_l2"]?.doubleValue)
    let told = page.components(separatedBy: "(relative L2 ").dropFirst().first?.prefix { $0 != ")" }
    let number = try #require(told.flatMap { Double($0) })
    #expect((number - error).magnitude <= error / 100)
    // Without the original the recorded errors are told, and no preset is encoded.
    try work.succeed(["report", "s.qckpt", "-o", "plain.html", "--quiet"])
    let plain = try self.page(work, "plain.html")
    #expect(plain.contains(">Verified<") && !plain.contains(">presets<"))
    #expect(plain.contains("as the encoder recorded it"))
  }

  @Test func theFrontOfPlansIsDrawn() throws {
    let work = try prepared()
    let report = ["report", "s.qckpt", "--against", "in.safetensors", "--front", "-o"]
    try work.succeed(report + ["a.html", "--threads", "1"])
    try work.succeed(report + ["b.html", "--threads", "3"])
    let page = try page(work, "a.html")
    #expect(try work.read("b.html") == work.read("a.html"))
    #expect(page.contains(">the best at each size<") && page.contains("class=\"front\"") && page.contains(">presets<"))
    // Bits and errors of the front as the table beside the chart has them.
    let cells = page.components(separatedBy: "plan of ").dropFirst().count
    #expect(cells >= 8)
    let usage = try work.run(["report", "s.qckpt", "--front", "-o", "c.html"])
    #expect(usage.status == 2 && usage.errors.contains("--front is found from the original: give it with --against"))
  }

  @Test func theSameFileGivesTheSamePage() throws {
    let work = try prepared()
    let report = ["report", "s.qckpt", "--against", "in.safetensors", "-o"]
    try work.succeed(report + ["a.html", "--threads", "1"])
    try work.succeed(report + ["b.html", "--threads", "4"])
    #expect(try work.read("a.html") == work.read("b.html"))
    let streamed = try work.succeed(report + ["-"])
    #expect(try streamed.bytes == work.read("a.html"))
    // From standard input all but the name is the same.
    let named = ["-o", "-", "--title", "x <y> & z"]
    let piped = try work.succeed(["report", "-"] + named, input: "s.qckpt")
    #expect(try piped.text == work.succeed(["report", "s.qckpt"] + named).text)
    #expect(piped.text.contains("<title>x &lt;y&gt; &amp; z · qcodec report</title>"))
  }

  @Test func aViolationIsReportedAndFails() throws {
    let work = try prepared(policy: "paper8")
    try work.succeed(["encode", "in.safetensors", "-o", "4.qckpt", "--policy", "paper4"])
    let verified = try work.run(["verify", "s.qckpt", "--against", "4.qckpt"])
    let outcome = try work.run(["report", "s.qckpt", "--against", "4.qckpt", "-o", "r.html"])
    #expect(outcome.status == 1 && outcome.text == "" && outcome.errors == verified.errors)
    let page = try page(work, "r.html")
    #expect(page.contains(">Failed verification<") && page.contains("in 6 of 13 tensors; "))
    #expect(page.contains("The first: an element exceeds its bound, expected "))
    #expect(page.components(separatedBy: "<tr class=\"bad\">").count == 7)
    // Written to standard output all the same.
    let streamed = try work.run(["report", "s.qckpt", "--against", "4.qckpt", "-o", "-"])
    #expect(streamed.status == 1 && streamed.text == page)
  }

  @Test func damageIsReportedAndInvalid() throws {
    let work = try prepared()
    var bytes = try work.read("s.qckpt")
    let reader = try CheckpointReader(path: work.path("s.qckpt"))
    bytes[Int(reader.chunk(3).offset)] ^= 1
    try work.write(bytes, "bad.qckpt")
    let verified = try work.run(["verify", "bad.qckpt"])
    let outcome = try work.run(["report", "bad.qckpt", "-o", "r.html"])
    #expect(outcome.status == 3 && outcome.text == "" && outcome.errors == verified.errors)
    let page = try page(work, "r.html")
    #expect(page.contains(">Damaged<") && page.contains("The file is damaged in 1 place; "))
    #expect(page.contains("a chunk&#39;s checksum is wrong: ") && !page.contains("Codes and scales"))
  }

  @Test func whatIsNoCheckpointGetsNoPage() throws {
    let work = try prepared()
    let verified = try work.run(["verify", "in.safetensors"]).errors.dropFirst("qcodec: ".count).dropLast()
    try work.fail(["report", "in.safetensors", "-o", "r.html"], 3, String(verified))
    var bytes = try work.read("s.qckpt")
    bytes.removeLast(100)
    try work.write(bytes, "cut.qckpt")
    let cut = try work.run(["verify", "cut.qckpt"]).errors.dropFirst("qcodec: ".count).dropLast()
    try work.fail(["report", "cut.qckpt", "-o", "r.html"], 3, String(cut))
    try work.fail(
      ["report", "s.qckpt", "-o", "none/r.html"], 4, "none/r.html: cannot create: No such file or directory")
    try work.fail(["report", "none", "-o", "r.html"], 4, "none: cannot open: No such file or directory")
  }

  @Test func inputsAreNotOverwritten() throws {
    let work = try prepared()
    let refused = "this is an input; choose another output"
    try work.fail(["report", "s.qckpt", "-o", "s.qckpt"], 2, "s.qckpt: \(refused)")
    try work.fail(
      ["report", "s.qckpt", "--against", "in.safetensors", "-o", "in.safetensors"], 2, "in.safetensors: \(refused)")
    try work.fail(
      ["report", "s.qckpt"], 2, "Missing expected argument '--output <output>'; see 'qcodec report --help'")
    try work.fail(
      ["report", "-", "--against", "-", "-o", "r"], 2, "standard input can be read once; see 'qcodec report --help'")
    try work.fail(
      ["report", "s.qckpt", "-o", "r", "--eps=-1"], 2, "--eps is to be 0 or more; see 'qcodec report --help'")
    try work.fail(
      ["report", "s.qckpt", "-o", "r", "--threads", "0"], 2, "--threads is to be 1 to 1024; see 'qcodec report --help'")
    #expect(try work.names() == ["in.safetensors", "s.qckpt"])
  }
}
