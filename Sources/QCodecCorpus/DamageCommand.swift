import ArgumentParser
import QCheckpoint
import QCodec
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `qcodec-corpus damage`: damages copies of checkpoints in memory, and holds what the library says of each against the file.
struct DamageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "damage",
    abstract: "Damage checkpoints in many ways: none may be accepted with anything different, and all that is whole is "
      + "recovered.",
    discussion: "Exits with status 1 where anything was missed or is not recovered.")

  @Argument(help: "Sound checkpoints, of which copies are damaged in memory.")
  var files: [String]

  @Option(help: "How many cases to run.")
  var cases: UInt64 = 10_000

  @Option(name: .customLong("case"), help: "Run this case alone, by its number.")
  var only: UInt64?

  @Option(help: "What all cases follow from.")
  var seed: UInt64 = 1

  @Option(help: "Cases under way at a time.")
  var threads = availableThreads()

  @Flag(help: "Print one JSON document.")
  var json = false

  @Option(help: ArgumentHelp("Write the damaged file of --case there.", valueName: "path"))
  var keep: String?

  func validate() throws {
    if files.isEmpty { throw ValidationError("there is no file to damage") }
    if threads < 1 || threads > 256 { throw ValidationError("--threads is to be 1 to 256") }
    if keep != nil, only == nil { throw ValidationError("--keep takes --case") }
  }

  func run() throws {
    let campaign = Campaign(files: try files.map { try IntactFile(path: $0) }, seed: seed, threads: threads)
    let range = only.map { $0..<$0 + 1 } ?? 0..<cases
    let step = Int(max(1, (range.upperBound - range.lowerBound) / 10))
    let isQuiet = json || isatty(STDERR_FILENO) == 0
    let report = try campaign.run(range) { done in
      guard !isQuiet, done % step == 0 else { return }
      let line = "\(done) cases\n"
      _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
    }
    if let keep, let only { try campaign.write(case: only, to: keep) }
    if json {
      print(report.json(seed: seed).serialized(pretty: true))
    } else {
      for line in report.lines { print(line) }
    }
    if !report.ok { throw ExitCode(1) }
  }
}

extension Campaign {
  /// Writes the damaged file of a case.
  fileprivate func write(case number: UInt64, to path: String) throws {
    guard let file = unsafe fopen(path, "wb") else { throw ValidationError("cannot write \(path)") }
    let bytes = damagedBytes(ofCase: number)
    let written = unsafe fwrite(bytes, 1, bytes.count, file)
    guard unsafe fclose(file) == 0, written == bytes.count else { throw ValidationError("cannot write \(path)") }
  }
}
