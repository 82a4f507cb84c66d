import QCheckpoint

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Standard output and error, and what is known of the terminal behind them.
enum Terminal {
  /// Prints a line on standard output; ends the command with status 4 where that fails, without a word where the
  /// reader has gone away, as `head` does.
  static func print(_ text: String) {
    if !write(text + "\n", to: STDOUT_FILENO) {
      if errno != EPIPE { error("qcodec: standard output: cannot write") }
      exit(ExitStatus.system.rawValue)
    }
  }

  /// Prints lines on standard output, many at a time; as `print(_:)`.
  static func print(lines: [String]) {
    for start in stride(from: 0, to: lines.count, by: 1024) {
      print(lines[start..<min(lines.count, start + 1024)].joined(separator: "\n"))
    }
  }

  /// Prints a line on standard error.
  static func error(_ text: String) {
    // Nowhere is left to complain about standard error itself.
    _ = write(text + "\n", to: STDERR_FILENO)
  }

  /// Prints text on standard error as it is.
  static func progress(_ text: String) { _ = write(text, to: STDERR_FILENO) }

  static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// The columns of standard output's terminal; nil where lines need not be cut.
  static var width: Int? {
    guard outputIsTerminal else { return nil }
    var size = winsize()
    guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Whether bold headings are wanted: a terminal, and NO_COLOR not set.
  static var usesStyle: Bool {
    guard outputIsTerminal, let value = unsafe getenv("NO_COLOR") else { return outputIsTerminal }
    return unsafe value.pointee == 0
  }

  /// Takes the standard descriptors that the caller closed, so that no file opened later becomes one of them; using
  /// them still fails.
  static func occupyClosedDescriptors() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
      _ = unsafe open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  private static func write(_ text: String, to descriptor: Int32) -> Bool {
    var text = text
    return text.withUTF8 { bytes in
      var done = 0
      while done < bytes.count {
        let count = unsafe systemWrite(descriptor, bytes.baseAddress.unsafelyUnwrapped + done, bytes.count - done)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return false }
        done += count
      }
      return true
    }
  }

  private static func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    #if canImport(Glibc)
      unsafe Glibc.write(descriptor, bytes, count)
    #elseif canImport(Musl)
      unsafe Musl.write(descriptor, bytes, count)
    #else
      unsafe Darwin.write(descriptor, bytes, count)
    #endif
  }
}

/// Progress on standard error, only on a terminal and only for work over a second.
struct Progress {
  private let total: UInt64
  private let isShown: Bool
  private let start = ContinuousClock.now
  private var done: UInt64 = 0
  private var isVisible = false

  init(total: UInt64, quiet: Bool) {
    self.total = max(total, 1)
    isShown = !quiet && Terminal.errorIsTerminal
  }

  /// Takes note of more bytes done.
  mutating func advance(_ bytes: UInt64) {
    done += bytes
    guard isShown, start.duration(to: .now) > .seconds(1) else { return }
    isVisible = true
    Terminal.progress("\r\(done * 100 / total) % of \(ByteSize.text(total)) ")
  }

  /// Wipes the line.
  mutating func finish() {
    if isVisible { Terminal.progress("\r\u{1B}[K") }
    isVisible = false
  }

  /// Seconds since the start.
  var seconds: Double { start.duration(to: .now) / .seconds(1) }
}
