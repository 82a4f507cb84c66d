import QCheckpoint
import QCodec
import Testing

/// safetensors and NumPy files that claim what they do not hold.
@Suite("Invalid inputs")
struct ForeignInputTests {
  /// A missing or unreadable expected.json would leave the other tests without cases.
  @Test func everyFileIsExpected() throws {
    let names = try Fixtures.inputs.files("").filter { !$0.hasSuffix(".json") && !$0.hasSuffix(".md") }
    #expect(names == Fixtures.inputs.names)
    #expect(Fixtures.inputs.names.count == 29)
  }

  @Test(arguments: Fixtures.inputs.names)
  func isRefused(_ name: String) throws {
    let expected = try #require(Fixtures.inputs.expected[name])
    let error = try #require(throws: QCodecError.self) { _ = try openInput(path: Fixtures.inputs.path(name)) }
    #expect("\(error.code)" == expected["code"]?.stringValue, "\(error)")
    #expect(error.offset == expected["offset"]?.integerValue.map(UInt64.init), "\(error)")
    #expect(!error.message.isEmpty)
  }
}
