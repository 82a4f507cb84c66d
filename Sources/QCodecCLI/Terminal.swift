import Synchronization

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
    wipeLine()
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
    wipeLine()
    // Nowhere is left to complain about standard error itself.
    _ = write(text + "\n", to: STDERR_FILENO)
  }

  static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// The columns of standard output's terminal; nil where lines need not be cut.
  static var width: Int? { outputIsTerminal ? columns(of: STDOUT_FILENO) ?? 80 : nil }

  /// The columns to draw a picture in: those that COLUMNS names, else those of the terminal, else 80.
  static var pictureWidth: Int { givenColumns ?? columns(of: STDOUT_FILENO) ?? 80 }

  private static var givenColumns: Int? { variable("COLUMNS").flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } }

  private static func columns(of descriptor: Int32) -> Int? {
    var size = winsize()
    guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }

  /// Whether bold headings and colors are wanted on standard output: a terminal, and NO_COLOR not set.
  static var usesStyle: Bool { outputIsTerminal && variable("NO_COLOR") == nil }

  /// Likewise on standard error.
  static var errorUsesColor: Bool { errorIsTerminal && variable("NO_COLOR") == nil }

  /// Whether the locale's characters are UTF-8.
  static var isUTF8: Bool {
    let name = variable("LC_ALL") ?? variable("LC_CTYPE") ?? variable("LANG") ?? ""
    let encoding = name.uppercased()
    return encoding.contains("UTF-8") || encoding.contains("UTF8")
  }

  /// A variable of the environment; nil where it is empty, which counts as not set.
  private static func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
    return unsafe String(cString: value)
  }

  /// Takes the standard descriptors that the caller closed, so that no file opened later becomes one of them; using
  /// them still fails.
  static func occupyClosedDescriptors() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
      _ = unsafe open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  // MARK: The line of progress

  /// Whether the last line of standard error is one of progress; held while that line or others are written.
  private static let line = Mutex(false)

  /// Whether a line can be drawn on standard error, over and over: a terminal that knows how to go back.
  static var showsProgress: Bool { errorIsTerminal && variable("TERM") != "dumb" }

  /// Draws the line anew, one column narrower than the terminal, for in the last one some terminals begin the next line;
  /// not from the background, where the terminal is another's.
  static func drawLine(_ text: (_ width: Int) -> String) {
    let owner = tcgetpgrp(STDERR_FILENO)
    guard owner < 0 || owner == getpgrp() else { return }
    line.withLock { isShown in
      isShown = true
      _ = write("\r\(text((columns(of: STDERR_FILENO) ?? 80) - 1))\u{1B}[K", to: STDERR_FILENO)
    }
  }

  /// Removes the line, before anything else is written.
  static func wipeLine() {
    line.withLock { isShown in
      if isShown { _ = write("\r\u{1B}[K", to: STDERR_FILENO) }
      isShown = false
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
