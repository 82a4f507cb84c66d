import ArgumentParser
import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The command `qcodec`: parses, runs, and turns every error into one line and an exit status.
@main
struct QCodecCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "qcodec",
    abstract: "Compressed optimizer checkpoints with checkable error bounds.",
    discussion: """
      Exit status: 0 done; 1 a verification, bound or budget failed; 2 usage; 3 the input is not valid or is corrupt; \
      4 the system failed.
      """,
    version: "qcodec 0.1.0 (format 0.1)",
    subcommands: [EncodeCommand.self, DecodeCommand.self, InspectCommand.self, VerifyCommand.self])

  static func main() {
    // A reader that goes away is an error to report, not a reason to die.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      Terminal.error(failure.line)
      leave(failure.status)
    } catch {
      let text = fullMessage(for: error)
      guard exitCode(for: error) != .success else {
        Terminal.print(text)
        leave(.done)
      }
      Terminal.error(text.hasPrefix("Error: ") ? "qcodec: " + text.dropFirst(7) : text)
      leave(.usage)
    }
  }
}

/// Ends the process; outside the command, whose own `exit` would be taken for the system's.
private func leave(_ status: ExitStatus) -> Never { exit(status.rawValue) }
