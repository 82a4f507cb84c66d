import Foundation
import QCheckpoint
import Testing

/// A folder that a test runs the command in; it goes with the test.
final class Workspace {
  private let root: URL
  private let files: URL
  private let spool: URL
  private let executable: String

  init() throws {
    executable = try Command.path()
    root = FileManager.default.temporaryDirectory.appendingPathComponent("qcodec-cli-\(UUID().uuidString)")
    files = root.appendingPathComponent("files")
    spool = root.appendingPathComponent("spool")
    for folder in [files, spool] {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }
  }

  deinit { try? FileManager.default.removeItem(at: root) }

  // MARK: Files

  func path(_ name: String) -> String { files.appendingPathComponent(name).path }

  func write(_ bytes: [UInt8], _ name: String) throws { try Data(bytes).write(to: files.appendingPathComponent(name)) }

  func write(_ text: String, _ name: String) throws { try write(Array(text.utf8), name) }

  func remove(_ name: String) throws { try FileManager.default.removeItem(at: files.appendingPathComponent(name)) }

  func read(_ name: String) throws -> [UInt8] { try Fixture.bytes(path(name)) }

  func folder(_ name: String) throws {
    try FileManager.default.createDirectory(at: files.appendingPathComponent(name), withIntermediateDirectories: true)
  }

  /// The real state under the name `in.safetensors`.
  func copyReal() throws { try FileManager.default.copyItem(atPath: Fixture.real, toPath: path("in.safetensors")) }

  /// Everything in the folder, hidden files too, and what was left of spooled input.
  func contents() throws -> [String: [UInt8]] {
    var result: [String: [UInt8]] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: root.path) where !name.hasPrefix("stream-") {
      let url = root.appendingPathComponent(name)
      let isFolder = try url.resourceValues(forKeys: [.isDirectoryKey]).isDirectory == true
      result[name] = isFolder ? [] : try Fixture.bytes(url.path)
    }
    return result
  }

  /// Names in the folder, hidden files too.
  func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: files.path).sorted() }

  // MARK: Runs

  /// Runs `qcodec` with arguments; standard input is the file `input`, or empty.
  func run(_ arguments: [String], input: String? = nil, environment: [String: String] = [:]) throws -> Outcome {
    try start(executable, arguments, input: input, environment: environment)
  }

  /// Runs a line of shell in which `$Q` is the command.
  func shell(_ line: String, environment: [String: String] = [:]) throws -> Outcome {
    let own = ["Q": executable].merging(environment) { $1 }
    return try start("/bin/sh", ["-c", line], input: nil, environment: own)
  }

  /// Runs `qcodec`, which is to succeed without a word on standard error.
  @discardableResult
  func succeed(
    _ arguments: [String], input: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Outcome {
    let outcome = try run(arguments, input: input)
    #expect(outcome.status == 0, "\(arguments)", sourceLocation: sourceLocation)
    #expect(outcome.errors == "", "\(arguments)", sourceLocation: sourceLocation)
    return outcome
  }

  /// Runs `qcodec`, which is to end with a status and one line on standard error, and to leave every file as it was.
  func fail(
    _ arguments: [String], _ status: Int32, _ line: String, input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let before = try contents()
    let outcome = try run(arguments, input: input)
    #expect(outcome.status == status, "\(arguments)", sourceLocation: sourceLocation)
    #expect(outcome.errors == "qcodec: \(line)\n", "\(arguments)", sourceLocation: sourceLocation)
    #expect(outcome.text == "", "\(arguments)", sourceLocation: sourceLocation)
    let after = try contents()
    #expect(after.keys.sorted() == before.keys.sorted(), "\(arguments)", sourceLocation: sourceLocation)
    let changed = before.filter { after[$0.key] != $0.value }.keys.sorted()
    #expect(changed == [], "\(arguments)", sourceLocation: sourceLocation)
  }

  /// What `inspect --json` says of each tensor of a checkpoint.
  func rows(_ file: String, _ options: [String] = []) throws -> [JSONValue] {
    let document = try succeed(["inspect", file, "--json"] + options).json()
    return try #require(document["tensors"]?.arrayValue)
  }

  private func start(
    _ program: String, _ arguments: [String], input: String?, environment: [String: String]
  ) throws -> Outcome {
    let streams = ["out", "err"].map { root.appendingPathComponent("stream-\(UUID().uuidString)-\($0)") }
    for url in streams { try Data().write(to: url) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.currentDirectoryURL = files
    var all = ProcessInfo.processInfo.environment.merging(["TMPDIR": spool.path]) { $1 }
    all["NO_COLOR"] = nil
    process.environment = all.merging(environment) { $1 }
    // Files, not pipes: nothing can block, and no other child inherits an end.
    let source = try FileHandle(forReadingFrom: URL(fileURLWithPath: input.map(path) ?? "/dev/null"))
    let handles = try streams.map { try FileHandle(forWritingTo: $0) }
    (process.standardInput, process.standardOutput, process.standardError) = (source, handles[0], handles[1])
    try process.run()
    process.waitUntilExit()
    for handle in handles + [source] { try handle.close() }
    let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    let texts = try streams.map { try Fixture.bytes($0.path) }
    return Outcome(status: status, bytes: texts[0], errors: String(decoding: texts[1], as: UTF8.self))
  }
}
