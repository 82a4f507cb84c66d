import QCheckpoint
import QCodec
import QVerify
import Testing

/// Files that each break one rule: which step refuses them, with which code and at which place.
@Suite("Invalid files")
struct InvalidTests {
  /// The steps of reading, in the order in which defects come to light.
  private enum Stage: String {
    case open, bytes, tensor, verify
  }

  private static func failure(_ body: () throws -> Void) -> QCodecError? {
    do {
      try body()
      return nil
    } catch {
      return error as? QCodecError
    }
  }

  /// The first step that fails, and how; nil for a file without defects.
  private static func refusal(_ path: String) throws -> (stage: Stage, error: QCodecError)? {
    var opened: CheckpointReader?
    if let error = failure({ opened = try CheckpointReader(path: path) }) { return (.open, error) }
    let reader = try #require(opened)
    if let error = failure({ try reader.checkAllBytes() }) { return (.bytes, error) }
    for index in 0..<reader.tensorCount {
      if let error = failure({ _ = try reader.bytes(ofTensor: index) }) { return (.tensor, error) }
    }
    let report = try Verifier(reader).verify()
    guard let violation = report.firstViolation else { return nil }
    return (.verify, QCodecError(.boundViolated, violation.reason, tensor: violation.tensor))
  }

  /// A missing or unreadable expected.json would leave the other tests without cases.
  @Test func everyFileIsExpected() throws {
    #expect(try Fixtures.invalid.files(".qckpt") == Fixtures.invalid.names)
    #expect(Fixtures.invalid.names.count == 631)
  }

  @Test(arguments: Fixtures.invalid.names)
  func isRefused(_ name: String) throws {
    let expected = try #require(Fixtures.invalid.expected[name])
    let breaks = expected["breaks"]?.stringValue ?? ""
    let (stage, error) = try #require(try Self.refusal(Fixtures.invalid.path(name)), "accepted: \(breaks)")
    #expect("\(error.code)" == expected["code"]?.stringValue, "\(breaks): \(error)")
    #expect(stage.rawValue == expected["when"]?.stringValue, "\(breaks): \(error)")
    #expect(error.offset == expected["offset"]?.integerValue.map(UInt64.init), "\(breaks): \(error)")
    #expect(error.tensor == expected["tensor"]?.stringValue, "\(breaks): \(error)")
    if let says = expected["says"]?.stringValue { #expect(error.message.contains(says), "\(breaks): \(error)") }
  }

  /// `verify` must find what a reader finds at any step.
  @Test(arguments: Fixtures.invalid.names)
  func verifierRefuses(_ name: String) throws {
    let expected = try #require(Fixtures.invalid.expected[name])
    var isAccepted = false
    let error = Self.failure {
      isAccepted = try Verifier(try CheckpointReader(path: Fixtures.invalid.path(name))).verify().ok
    }
    #expect(!isAccepted)
    let code = error?.code ?? .boundViolated
    #expect("\(code)" == expected["code"]?.stringValue)
  }

  @Test func referenceReaderRefuses() throws {
    let names = Fixtures.invalid.names
    let paths = names.map(Fixtures.invalid.path)
    guard let found = try ReferenceReader.read(paths, test: "InvalidTests.referenceReaderRefuses") else { return }
    for (name, path) in zip(names, paths) {
      let code = found[path]?["code"]?.stringValue
      #expect(code == Fixtures.invalid.expected[name]?["code"]?.stringValue, "\(name)")
    }
  }
}
