import Foundation
import Testing

/// Commands that a signal is to end.
@Suite(.serialized) struct InterruptionTests {
  /// Starts `encode` on 16 GiB of zeros that take no room, more work than is done before a signal comes, and waits for
  /// bytes in the temporary: from then on the handlers are in place.
  private func started(_ work: Workspace, _ number: Int32, ignored: Bool = false) throws -> Process {
    let size = 16 << 30
    let header = Array(#"{"x":{"dtype":"U8","shape":[\#(size)],"data_offsets":[0,\#(size)]}}"#.utf8)
    try work.write(littleEndian(UInt64(header.count)) + header, "in")
    let handle = try #require(FileHandle(forWritingAtPath: work.path("in")))
    try handle.truncate(atOffset: UInt64(8 + header.count + size))
    try handle.close()
    try work.write("earlier", "out")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Command.path())
    process.arguments = ["encode", "in", "-o", "out", "--policy", "lossless", "--threads", "1", "--quiet"]
    process.currentDirectoryURL = URL(fileURLWithPath: work.path(""))
    try withSignals(number, ignored: ignored) { try process.run() }
    while process.isRunning, written(work) == 0 {}
    return process
  }

  /// Bytes in the temporary, if there is one.
  private func written(_ work: Workspace) -> Int {
    guard let name = try? work.names().first(where: { $0.hasSuffix(".qcodec-partial") }) else { return 0 }
    let attributes = try? FileManager.default.attributesOfItem(atPath: work.path(name))
    return attributes?[.size] as? Int ?? 0
  }

  /// Runs `body`; what it starts gets signals as from a shell, where the threads of tests block them.
  private func withSignals(_ number: Int32, ignored: Bool, _ body: () throws -> Void) throws {
    let handler = signal(number, ignored ? SIG_IGN : SIG_DFL)
    var (none, before) = (sigset_t(), sigset_t())
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
    defer {
      unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
      signal(number, handler)
    }
    try body()
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func theTemporaryGoes(signal number: Int32) throws {
    let work = try Workspace()
    let process = try started(work, number)
    #expect(process.isRunning)
    kill(process.processIdentifier, number)
    process.waitUntilExit()
    #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == number)
    #expect(try work.names() == ["in", "out"])
    #expect(try work.read("out") == Array("earlier".utf8))
  }

  @Test func whatTheCallerIgnoresStaysIgnored() throws {
    let work = try Workspace()
    let process = try started(work, SIGHUP, ignored: true)
    kill(process.processIdentifier, SIGHUP)
    let before = written(work)
    while process.isRunning, written(work) <= before {}
    #expect(process.isRunning)
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}
