import QCodec
import Testing

@testable import QCheckpoint

@Suite("Hostile headers, trailers and metadata with right checksums")
struct TrailerAttackTests {
  private func good() throws -> CheckpointPatch { try CheckpointPatch(AttackFile.bytes()) }

  private func code(_ file: [UInt8]) -> QCodecError.Code? { inputError { _ = try opened(file) }?.code }

  @Test("The patch alone changes nothing")
  func identity() throws {
    let file = try AttackFile.bytes()
    let patch = try CheckpointPatch(file)
    #expect(patch.sealed() == file)
    #expect(patch.sealed(headerByte: CheckpointPatch.HeaderField.optional, 0) == file)
    #expect(patch.sealed(trailerByte: 72, 0) == file)
  }

  @Test(
    "Counts are refused before anything is allocated for them", arguments: [UInt64(1) << 33, 1 << 40, 1 << 63, .max])
  func tensorCounts(count: UInt64) throws {
    var patch = try good()
    patch.set(.tensors, count)
    #expect(code(patch.sealed { $0.tensorCount = count }) == .limitExceeded)
  }

  /// A sparse file takes no room, and a function may call itself as long as it likes.
  @Test("A directory that no memory can hold is an error", arguments: [UInt64(1) << 50, 1 << 62])
  func hugeDirectory(length: UInt64) throws {
    let header = try Array(AttackFile.bytes()[..<64])
    let start = 64 + length
    let trailer = Trailer(
      directoryOffset: 64, directoryLength: length, directoryHash: 0, metadataOffset: 64, metadataLength: 0,
      metadataHash: xxh3([]), headerHash: ByteFields(bytes: header).read(56), fileLength: start + 96, tensorCount: 0
    ).bytes
    let source = unsafe CallbackSource(byteCount: start + 96) { offset, target throws(QCodecError) in
      for index in 0..<target.count {
        let place = offset + UInt64(index)
        unsafe target[index] = place < 64 ? header[Int(place)] : place < start ? 0 : trailer[Int(place - start)]
      }
    }
    #expect(inputError { _ = try CheckpointReader(source: source) }?.code == .io)
  }

  @Test("Trailer and directory agree on the number of tensors")
  func disagreement() throws {
    let patch = try good()
    for count in [UInt64(0), 2, 4, 1 << 32] {
      #expect(code(patch.sealed { $0.tensorCount = count }) == .invalidDirectory)
    }
  }

  @Test("Places that the parts of a file cannot have")
  func places() throws {
    let patch = try good()
    #expect(code(patch.sealed { $0.metadataLength = 256 << 20 + 1 }) == .limitExceeded)
    #expect(code(patch.sealed { $0.metadataLength = .max }) == .limitExceeded)
    #expect(code(patch.sealed { $0.metadataLength += 64 }) == .trailerCorrupt)
    for offset in [UInt64(0), 1, 63, 65, 1 << 40, 1 << 63, .max - 63, .max] {
      #expect(code(patch.sealed { $0.metadataOffset = offset }) == .trailerCorrupt, "\(offset)")
      #expect(code(patch.sealed { $0.directoryOffset = offset }) == .trailerCorrupt, "\(offset)")
    }
    for length in [UInt64(0), 1 << 40, 1 << 63, .max - 127, .max] {
      #expect(code(patch.sealed { $0.directoryLength = length }) == .trailerCorrupt, "\(length)")
    }
    // Metadata moved by a whole unit leave the chunks' end behind.
    #expect(
      code(
        patch.sealed {
          $0.metadataOffset -= 64; $0.metadataLength += 64
        }) != nil)
    #expect(code(patch.sealed { $0.fileLength += 64 }) == .truncated)
    #expect(code(patch.sealed { $0.fileLength = .max }) == .truncated)
    #expect(code(patch.sealed { $0.fileLength -= 64 }) == .trailerCorrupt)
    #expect(code(patch.sealed { $0.headerHash ^= 1 }) == .headerCorrupt)
    #expect(code(patch.sealed { $0.directoryHash ^= 1 }) == .directoryCorrupt)
    for offset in 72..<80 { #expect(code(patch.sealed(trailerByte: offset, 1)) == .reservedBits) }
  }

  @Test("Versions, features and reserved bytes of the header")
  func header() throws {
    typealias Field = CheckpointPatch.HeaderField
    let patch = try good()
    #expect(code(patch.sealed(headerByte: Field.major, UInt8(Format.major) + 1)) == .unsupportedVersion)
    #expect(code(patch.sealed(headerByte: Field.major + 1, 1)) == .unsupportedVersion)
    #expect(code(patch.sealed(headerByte: Field.major, 0)) == .unsupportedVersion)
    // A newer minor version has nothing in this file that a reader must know.
    for version in [UInt8(Format.minor) + 1, 0xFF] {
      #expect(code(patch.sealed(headerByte: Field.minor, version)) == nil)
      #expect(code(patch.sealed(headerByte: Field.minor + 1, version)) == nil)
    }
    #expect(code(patch.sealed(headerByte: Field.length, 128)) == .headerCorrupt)
    for byte in 0..<8 {
      #expect(code(patch.sealed(headerByte: Field.required + byte, 0x10)) == .unsupportedFeature)
      // Readers ignore what they need not understand.
      #expect(code(patch.sealed(headerByte: Field.optional + byte, 0x10)) == nil)
    }
    for offset in Field.reserved { #expect(code(patch.sealed(headerByte: offset, 1)) == .reservedBits) }
  }

  @Test("Metadata that are no JSON object")
  func metadata() throws {
    // The metadata of the file are {"k":"v"}, nine bytes.
    for text in ["[\"k\",\"v\"]", "{\"k\":\"v\" ", "\"k\":\"v\"  ", "{\"k\":1,  ", "123456789", "{}      }"] {
      var patch = try good()
      patch.body.replaceSubrange(patch.metadataRange, with: Array(text.utf8))
      let reader = try opened(patch.sealed())
      let error = inputError { _ = try reader.metadata() }
      #expect(error?.code == .metadataCorrupt, "\(text)")
      #expect(
        (error?.offset).map { patch.metadataRange.contains(Int($0)) || Int($0) == patch.metadataRange.upperBound }
          == true)
      #expect(inputError { try reader.checkAllBytes(threads: 1) }?.code == .metadataCorrupt)
    }
    var patch = try good()
    patch.body[patch.metadataRange.lowerBound + 2] = 0xFF
    #expect(inputError { _ = try opened(patch.sealed()).metadata() }?.code == .metadataCorrupt)
  }
}
