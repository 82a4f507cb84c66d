import Foundation
import QCheckpoint
import QCodec
import Testing

/// A folder that goes with the test.
final class InputFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("qcodec-input-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }

  /// Writes a file and returns its path.
  @discardableResult
  func write(_ bytes: [UInt8], _ name: String = "file") throws -> String {
    try Data(bytes).write(to: url.appendingPathComponent(name))
    return path(name)
  }

  func read(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: url.appendingPathComponent(name))) }

  var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() } }
}

/// The error that `body` throws, or nil.
func inputError(_ body: () throws -> Void) -> QCodecError? {
  do {
    try body()
    return nil
  } catch {
    return error as? QCodecError
  }
}

/// The bytes of `source` from `offset` on, all that follow by default.
func inputBytes(_ source: any TensorSource, at offset: UInt64 = 0, count: Int? = nil) throws -> [UInt8] {
  var bytes = [UInt8](repeating: 0xEE, count: count ?? Int(source.byteCount - offset))
  try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in try unsafe source.read(at: offset, into: buffer) }
  return bytes
}

/// Little-endian bytes of an integer.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// Little-endian bytes of float32 values.
func littleEndian(floats values: [Float]) -> [UInt8] { values.flatMap { littleEndian($0.bitPattern) } }

/// A safetensors file of a header as written and data bytes.
func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] {
  littleEndian(UInt64(header.utf8.count)) + Array(header.utf8) + data
}
