import QCodec

/// The exit statuses; they are API.
enum ExitStatus: Int32 {
  case done = 0
  case failed = 1
  case usage = 2
  case invalidInput = 3
  case system = 4

  /// The status of an error of the library.
  init(_ error: QCodecError) {
    switch error.code.rawValue {
    case QCodecError.Code.nameClash.rawValue: self = .invalidInput
    case 10..<20, 70..<80: self = .usage
    case 20..<70: self = .invalidInput
    case 90..<100: self = .failed
    default: self = error.code == .wouldOverwriteInput ? .usage : .system
    }
  }
}

/// What ends the command: one line, with the file that is concerned, and the exit status.
struct Failure: Error {
  let line: String
  let status: ExitStatus

  /// A failure of a file, or of the command where `file` is nil.
  init(_ message: String, file: String? = nil, status: ExitStatus) {
    // One line, whatever names and messages hold.
    let text = (file.map { "\($0): " } ?? "") + message
    line = "qcodec: " + text.escapingControls
    self.status = status
  }

  /// An error of the library about a file.
  init(_ error: QCodecError, file: String) {
    self.init(error.description, file: file, status: ExitStatus(error))
  }
}

/// What ends the command with a status that needs no word on standard error: the answer was printed.
struct Ending: Error {
  let status: ExitStatus
}

/// Runs `body`; errors of the library become failures of `file`.
func concerning<Result>(_ file: String, _ body: () throws -> Result) throws -> Result {
  do { return try body() } catch let error as QCodecError { throw Failure(error, file: file) }
}
