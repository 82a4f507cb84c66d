import Foundation
import QCheckpoint
import Testing

/// The campaign tool: that its cases repeat, and that a run over a few finds nothing missed.
@Suite struct CorpusTests {
  private static func run(_ arguments: [String]) throws -> (status: Int32, text: [UInt8]) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Command.corpus())
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, [UInt8](text))
  }

  private static let golden = ["custom", "names", "scalings", "update"].map {
    Fixture.root.appendingPathComponent("Fixtures/golden/\($0).qckpt").path
  }

  @Test func nothingIsMissed() throws {
    let (status, text) = try Self.run(["damage", "--cases", "104", "--seed", "5", "--json"] + Self.golden)
    let document = try JSONValue(parsing: text)
    #expect(status == 0 && document["ok"] == .bool(true), "\(String(decoding: text, as: UTF8.self))")
    let counts = ["detected", "harmless", "missed"].map { document[$0]?.integerValue ?? -1 }
    #expect(document["cases"] == .integer(104) && counts.reduce(0, +) == 104 && counts[0] > 70 && counts[2] == 0)
    #expect(document["undamaged_tensors"] == document["recovered_tensors"])
    #expect(document["mutations"]?.objectValue?.count == 13 && document["defects"] == .array([]))
    // Equal seeds, equal cases, whatever the threads.
    let again = try Self.run(["damage", "--cases", "104", "--seed", "5", "--json", "--threads", "1"] + Self.golden)
    #expect(again.text == text)
    let other = try Self.run(["damage", "--cases", "104", "--seed", "6", "--json"] + Self.golden)
    #expect(other.status == 0 && other.text != text)
  }

  @Test func aCaseIsRunAndKeptByItsNumber() throws {
    let work = try Workspace()
    for number in ["4", "11", "102"] {
      let run = ["damage", "--case", number, "--seed", "5", "--keep", work.path(number), "--json"]
      let (status, text) = try Self.run(run + Self.golden)
      #expect(status == 0)
      #expect(try JSONValue(parsing: text)["cases"] == .integer(1))
      let original = Self.golden[Int(number).map { $0 % Self.golden.count } ?? 0]
      #expect(try work.read(number) != Fixture.bytes(original))
    }
  }

  /// Chunks exchanged or repeated under right sums are found as long as their frames tell.
  @Test func forgeriesAreFoundByTheirFrames() throws {
    let (status, text) = try Self.run(["forge", "--cases", "112", "--seed", "5"] + Self.golden)
    let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
    #expect(status == 0 && lines.count == 7)
    for line in lines where line.hasPrefix("chunks_exchanged:") || line.hasPrefix("chunk_repeated:") {
      #expect(line.hasSuffix(", accepted 0"), "\(line)")
    }
  }

  /// What is no sound checkpoint proves nothing.
  @Test func damagedFilesAreNoCorpus() throws {
    let invalid = Fixture.root.appendingPathComponent("Fixtures/invalid/chunk-checksum.qckpt").path
    #expect(try Self.run(["damage", invalid]).status != 0)
    #expect(try Self.run(["damage"]).status != 0)
  }
}
