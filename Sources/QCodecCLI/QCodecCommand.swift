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
      Exit status: 0 done; 1 a verification, bound or budget failed, or files differ; 2 usage; 3 the input is not valid \
      or is corrupt; 4 the system failed.

      EXAMPLES:
        qcodec encode optimizer.safetensors -o optimizer.qckpt
        qcodec inspect optimizer.qckpt --plot
        qcodec verify optimizer.qckpt --against optimizer.safetensors
        qcodec decode optimizer.qckpt -o restored.safetensors
        qcodec --generate-completion-script bash
      """,
    version: "qcodec 0.1.0 (format 1.0)",
    subcommands: [
      EncodeCommand.self, DecodeCommand.self, InspectCommand.self, VerifyCommand.self, PlanCommand.self,
      ReportCommand.self, DiffCommand.self, FlattenCommand.self, HashCommand.self, BenchCommand.self,
    ])

  static func main() {
    // A reader that goes away and a limit on file sizes are errors to report, not reasons to die.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    Terminal.occupyClosedDescriptors()
    do {
      var command = try parseAsRoot()
      if let command = command as? any QuietableCommand, command.quiet {
        Progress.isWanted.store(false, ordering: .relaxed)
      }
      try command.run()
    } catch let failure as Failure {
      Terminal.error(failure.line)
      leave(failure.status)
    } catch let ending as Ending {
      leave(ending.status)
    } catch {
      guard exitCode(for: error) != .success else {
        Terminal.print(fullMessage(for: error))
        leave(.done)
      }
      Terminal.error(usage(error).line)
      leave(.usage)
    }
  }

  /// A mistake on the command line as one line, with the help to ask for.
  private static func usage(_ error: any Error) -> Failure {
    // The parser's text ends in "See 'qcodec encode --help' for more information.", which names the subcommand.
    let help = fullMessage(for: error).split(whereSeparator: \.isNewline).last?.split(separator: "'") ?? []
    let hint = help.count > 1 && help[1].hasSuffix(" --help") ? "; see '\(help[1])'" : ""
    let text = message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
    return Failure((text.hasSuffix(".") ? String(text.dropLast()) : text) + hint, status: .usage)
  }
}

/// A subcommand that can be told to show no progress.
protocol QuietableCommand: ParsableCommand {
  /// Whether nothing but results and errors is wanted.
  var quiet: Bool { get }
}

/// Ends the process; outside the command, whose own `exit` would be taken for the system's.
private func leave(_ status: ExitStatus) -> Never { exit(status.rawValue) }
