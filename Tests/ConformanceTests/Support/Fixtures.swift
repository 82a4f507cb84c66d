import Foundation
import QCheckpoint
import QCodec
import Testing

/// The files of Fixtures/ and what their expected.json says of them.
struct Fixtures: Sendable {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  static let golden = Fixtures("golden")
  static let invalid = Fixtures("invalid")
  /// Files of other formats.
  static let inputs = Fixtures("inputs")

  let folder: URL
  /// By case or file; empty where expected.json cannot be read, which the tests of counts notice.
  let expected: [String: JSONValue]

  private init(_ name: String) {
    folder = Self.root.appendingPathComponent("Fixtures").appendingPathComponent(name)
    let text = (try? Data(contentsOf: folder.appendingPathComponent("expected.json"))).map { [UInt8]($0) }
    expected = text.flatMap { try? JSONValue(parsing: $0) }?.objectValue ?? [:]
  }

  /// The keys of expected.json in order.
  var names: [String] { expected.keys.sorted() }

  /// The files of the folder that end in `suffix`, in order.
  func files(_ suffix: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(suffix) }.sorted()
  }

  func path(_ file: String) -> String { folder.appendingPathComponent(file).path }
}

/// A folder that goes with the test.
final class TemporaryFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("qcodec-conformance-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }
}

extension JSONValue {
  /// A member that must be there.
  func member(_ key: String) throws -> JSONValue { try #require(self[key], "no member \(key)") }

  /// A number that must be there, exact; nil for null.
  func double(_ key: String) throws -> Double? {
    let value = try member(key)
    if case .null = value { return nil }
    let number = value.doubleValue
    try #require(number != nil, "\(key) is no number")
    return number
  }
}

/// XXH3-64 as expected.json and the reference reader write it.
func hexadecimal(_ hash: UInt64) -> String {
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
