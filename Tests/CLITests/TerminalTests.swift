import Foundation
import Testing

/// What differs on a terminal; `script` provides one.
@Suite struct TerminalTests {
  private static let hasScript: Bool = {
    #if os(Linux)
      return FileManager.default.isExecutableFile(atPath: "/usr/bin/script")
    #else
      return false
    #endif
  }()

  /// What a command prints on a terminal of a width.
  private func onTerminal(
    _ work: Workspace, _ arguments: String, columns: Int, environment: [String: String] = [:]
  ) throws -> [String] {
    let outcome = try work.shell(
      "script -qec \"stty cols \(columns); '$Q' \(arguments)\" /dev/null", environment: environment)
    #expect(outcome.status == 0)
    return outcome.lines
  }

  private func prepared() throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    return work
  }

  private static let bold = ("\u{1B}[1m", "\u{1B}[0m")

  @Test(.enabled(if: hasScript, "needs the command script"), arguments: [80, 100, 132, 200])
  func theTableFitsTheTerminal(columns: Int) throws {
    let work = try prepared()
    let lines = try onTerminal(work, "inspect s.qckpt", columns: columns)
    let plain = lines.map {
      $0.replacingOccurrences(of: Self.bold.0, with: "").replacingOccurrences(of: Self.bold.1, with: "")
    }
    #expect(plain.map(\.count).max() ?? 0 <= columns)
    #expect(plain.count == 4 + 2 + 1 + 1 + 13)
    // Names are cut in their middle, and the other columns are whole or not there.
    let wide = try work.succeed(["inspect", "s.qckpt"]).lines.suffix(14).map { $0.split(separator: " ") }
    let narrow = plain.suffix(14).map { $0.split(separator: " ") }
    let shown = try #require(narrow.last).count
    // In the last row each column is one word.
    #expect(shown == [80: 6, 100: 8, 132: 10, 200: 11][columns])
    for (row, whole) in zip(narrow, wide) {
      let (ends, name) = (row[0].split(separator: "…"), whole[0])
      #expect(name.hasPrefix(ends[0]) && name.hasSuffix(ends.last ?? ""))
      #expect(row[0] == name || row[0].count >= 12)
      #expect(Array(row.dropFirst()) == Array(whole.dropFirst().prefix(row.count - 1)))
    }
    if columns == 200 { #expect(narrow == wide) }
  }

  @Test(.enabled(if: hasScript, "needs the command script")) func headingsAreBoldUnlessColorIsUnwanted() throws {
    let work = try prepared()
    let styled = try onTerminal(work, "inspect s.qckpt", columns: 150)
    #expect(styled.filter { $0.hasPrefix(Self.bold.0 + "tensor ") && $0.hasSuffix(Self.bold.1) }.count == 1)
    let empty = try onTerminal(work, "inspect s.qckpt", columns: 150, environment: ["NO_COLOR": ""])
    #expect(empty == styled)
    let plain = try onTerminal(work, "inspect s.qckpt", columns: 150, environment: ["NO_COLOR": "1"])
    #expect(!plain.joined().contains("\u{1B}"))
    let document = try onTerminal(work, "inspect s.qckpt --json", columns: 40)
    #expect(!document.joined().contains("\u{1B}"))
    #expect(document.joined(separator: "\n") + "\n" == (try work.succeed(["inspect", "s.qckpt", "--json"]).text))
  }

  @Test func nothingIsStyledOrCutElsewhere() throws {
    let work = try prepared()
    for environment in [[:], ["NO_COLOR": "1"], ["COLUMNS": "20", "CLICOLOR_FORCE": "1"]] {
      let outcome = try work.run(["inspect", "s.qckpt"], environment: environment)
      #expect(!outcome.text.contains("\u{1B}"))
      #expect(outcome.lines.contains { $0.hasPrefix("exp_avg_sq/blocks.3.proj.weight ") && $0.count > 120 })
    }
  }

  @Test(.enabled(if: hasScript, "needs the command script")) func bytesAreNotPouredIntoATerminal() throws {
    let work = try prepared()
    for command in ["encode in.safetensors -o -", "decode s.qckpt -o -"] {
      let outcome = try work.shell("script -qec \"'$Q' \(command)\" /dev/null")
      #expect(outcome.status == 2)
      #expect(outcome.text == "qcodec: standard output is a terminal; redirect it or name a file\r\n")
    }
  }

  /// Quiet work and work elsewhere show no progress; Tests/Python/test_progress.py sees what is shown.
  @Test(.enabled(if: hasScript, "needs the command script")) func progressIsForTerminals() throws {
    let work = try Workspace()
    let tensors = (0..<8).map { Tensor.noise("exp_avg/\($0)", count: 200_000, seed: UInt64($0)) }
    try work.write(safetensors(tensors), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--quiet"])
    #expect(try onTerminal(work, "verify s.qckpt --quiet", columns: 80) == [])
    let text = try work.succeed(["verify", "s.qckpt"]).text
    #expect(text.hasPrefix("s.qckpt: ok, 8 tensors") && !text.contains("%"))
    // How fast the machine is decides whether there was anything to show, which is gone before the answer.
    let raw = try work.shell("script -qec \"'$Q' verify s.qckpt\" /dev/null").text
    #expect(raw.hasPrefix("s.qckpt: ok, 8 tensors") || raw.contains("\r\u{1B}[Ks.qckpt: ok, 8 tensors"))
  }
}
