import Foundation
import QCheckpoint
import Testing

/// The executables under test: `QCODEC_BINARY` and `QCODEC_CORPUS`, or what was built beside the test bundle.
enum Command {
  struct Missing: Error, CustomStringConvertible {
    let places: [String]
    var description: String {
      "no executable at \(places.joined(separator: ", ")); build it, or set QCODEC_BINARY or QCODEC_CORPUS"
    }
  }

  static func path() throws -> String { try path("qcodec", variable: "QCODEC_BINARY") }

  static func corpus() throws -> String { try path("qcodec-corpus", variable: "QCODEC_CORPUS") }

  private static func path(_ name: String, variable: String) throws -> String {
    let given = ProcessInfo.processInfo.environment[variable] ?? ""
    let folders = Bundle.allBundles.filter { $0.bundlePath.hasSuffix(".xctest") }.map(\.bundleURL)
    let beside = (folders + [URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0])]).map {
      $0.deletingLastPathComponent().appendingPathComponent(name).path
    }
    let places = given.isEmpty ? beside : [given]
    guard let path = places.first(where: FileManager.default.isExecutableFile) else { throw Missing(places: places) }
    return URL(fileURLWithPath: path).path
  }
}

/// What a run left behind: its status (negative: the signal that ended it) and both streams.
struct Outcome: Sendable {
  let status: Int32
  let bytes: [UInt8]
  let errors: String

  var text: String { String(decoding: bytes, as: UTF8.self) }
  /// The lines of standard output without their ends; by bytes, for CR LF is one character.
  var lines: [String] {
    bytes.split(separator: 0x0A, omittingEmptySubsequences: false).dropLast().map { line in
      String(decoding: line.last == 0x0D ? line.dropLast() : line, as: UTF8.self)
    }
  }

  /// Standard output as one JSON document; more than one, or text around it, throws.
  func json() throws -> JSONValue { try JSONValue(parsing: bytes) }
}

/// Files of the repository.
enum Fixture {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  /// A real optimizer state: 13 tensors, ten of them moments, six of those of 4,096 elements and more.
  static let real = root.appendingPathComponent("Fixtures/real/gpt-char.safetensors").path
  static let presets = ["adam8", "adam4", "adamq", "paper8", "paper4", "lossless"]

  static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
}
