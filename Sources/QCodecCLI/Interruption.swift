#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Removes the file under construction, and the line of progress, when a signal ends the command.
enum Interruption {
  /// The path as the handler needs it: a handler may not allocate.
  nonisolated(unsafe) private static var path: UnsafeMutablePointer<CChar>?

  private static let signals = [SIGINT, SIGTERM, SIGHUP]

  /// Runs `body`, which makes a file and has it removed; a signal that comes meanwhile waits until it is known.
  static func held<Result>(_ body: () throws -> Result) rethrows -> Result {
    var (held, before) = (sigset_t(), sigset_t())
    unsafe sigemptyset(&held)
    for number in signals { unsafe sigaddset(&held, number) }
    unsafe pthread_sigmask(SIG_BLOCK, &held, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    return try body()
  }

  /// Has a file removed by the signals that end a command; nil where there is none.
  ///
  /// A command has one file at a time: the one named before is forgotten. Once a file was renamed its old name means
  /// nothing.
  static func removeWhenInterrupted(_ temporary: String?) {
    guard let temporary else { return }
    unsafe path = strdup(temporary)
    handle()
  }

  /// Handles the signals that end a command.
  static func handle() {
    // Made now: a handler may not wait for what is made at its first use.
    _ = Terminal.isLineShown.load(ordering: .relaxed)
    for number in signals {
      let previous = signal(number) { number in
        if let path = unsafe Interruption.path { unsafe unlink(path) }
        Terminal.wipeLineInHandler()
        // Whoever waits for the command is to see what ended it.
        signal(number, SIG_DFL)
        raise(number)
      }
      // As nohup has it.
      if unsafe unsafeBitCast(previous, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
        signal(number, SIG_IGN)
      }
    }
  }
}
