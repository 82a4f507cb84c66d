import Foundation
import QCheckpoint
import QCodec
import QVerify

/// A sound checkpoint whose base is the input: read in every way, verified, flattened and salvaged.
enum BaseTarget {
  /// The golden file, which refers to chunks of every kind.
  private static let delta: [UInt8] = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let path = root.appendingPathComponent("Fixtures/golden/delta-lz4.qckpt")
    guard let data = try? Data(contentsOf: path) else { fatalError("no \(path.path)") }
    return [UInt8](data)
  }()

  /// What decoding finds in chunks whose sums are right.
  private static let found: Set<QCodecError.Code> = [.invalidScale, .invalidCode, .invalidEscape]

  static func run(_ input: [UInt8]) -> Bool {
    let source = MemorySource(bytes: input)
    guard let base = outcome({ () throws(QCodecError) in try CheckpointReader(source: source) }).value,
      let digest = base.digest
    else { return false }
    let bytes = referring(to: digest)
    let opened = outcome { () throws(QCodecError) in
      try CheckpointReader(source: MemorySource(bytes: bytes), bases: [base])
    }
    guard let reader = opened.value else {
      require(false, "a sound file is refused: \(opened.error as Any)")
      return false
    }
    require(reader.base != nil, "a base that was given is not found: \(reader.baseFailure as Any)")
    let contents = (0..<reader.tensorCount).map { index in
      outcome { () throws(QCodecError) in try reader.bytes(ofTensor: index, threads: 1) }
    }
    let checked = outcome { () throws(QCodecError) in try reader.checkAllBytes(threads: 1) }
    // What differences make of another base may be scales and codes that no encoder writes: decoding finds them, not sums.
    let isRead = contents.allSatisfy { $0.isSuccess || $0.error.map { found.contains($0.code) } == true }
    require(!checked.isSuccess || isRead, "what verifies cannot be read")
    tolerate { () throws(QCodecError) in _ = try Verifier(reader, threads: 1).verify() }
    tolerate { () throws(QCodecError) in
      let recovery = try Recovery(source: MemorySource(bytes: bytes), threads: 1, bases: [base])
      for tensor in recovery.tensors {
        guard let number = tensor.number else { continue }
        require(
          tensor.isWhole == contents[number].isSuccess, "a tensor is whole and cannot be read, or the other way round")
      }
    }
    return true
  }

  /// The golden file with another digest for its base, every sum right.
  private static func referring(to digest: Hash128) -> [UInt8] {
    var bytes = delta
    let trailer = bytes.count - 96
    bytes.replaceSubrange(32..<48, with: digest.bytes)
    bytes.replaceSubrange(56..<64, with: littleEndian(xxh3(Array(bytes[..<56]))))
    bytes.replaceSubrange(trailer + 48..<trailer + 56, with: bytes[56..<64])
    bytes.replaceSubrange(trailer + 88..<trailer + 96, with: littleEndian(xxh3(Array(bytes[trailer..<trailer + 88]))))
    return bytes
  }

  private static func littleEndian(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
  }
}
