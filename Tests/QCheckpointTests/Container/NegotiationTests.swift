import QCodec
import Testing

@testable import QCheckpoint

/// What a reader makes of files of other versions: each bit of each field that is kept for later, one by one.
@Suite("Versions and feature bits")
struct NegotiationTests {
  private typealias Field = CheckpointPatch.HeaderField

  private func good() throws -> CheckpointPatch { try CheckpointPatch(AttackFile.bytes()) }

  private func refusal(_ file: [UInt8]) -> QCodecError? { inputError { _ = try opened(file) } }

  /// The file with whole fields of its header changed, whose checksum header and trailer agree on.
  private func headed(_ change: (inout [UInt8]) -> Void) throws -> [UInt8] {
    var patch = try good()
    var header = Array(patch.body[..<56])
    change(&header)
    let hash = xxh3(header)
    patch.body.replaceSubrange(..<64, with: header + littleEndian(hash))
    return patch.sealed { $0.headerHash = hash }
  }

  @Test("A newer minor version with every unused bit set opens, and holds what it held")
  func newerMinor() throws {
    let expected = try opened(good().sealed()).everything()
    for minor in [UInt16(0), 1, 2, 0x100, .max] {
      let file = try headed {
        $0.replaceSubrange(Field.minor..<Field.minor + 2, with: littleEndian(minor))
        $0.replaceSubrange(Field.optional..<Field.optional + 8, with: littleEndian(UInt64.max))
      }
      let reader = try opened(file)
      #expect(reader.formatVersion == (1, minor))
      try reader.checkAllBytes(threads: 1)
      #expect(try reader.everything() == expected, "1.\(minor)")
    }
  }

  @Test("Each unused bit is ignored")
  func optionalBits() throws {
    for bit in 0..<64 {
      let file = try headed { $0[Field.optional + bit / 8] = 1 << UInt8(bit % 8) }
      try opened(file).checkAllBytes(threads: 1)
    }
  }

  @Test("Other major versions, and none at all, are refused whatever else the header says")
  func otherMajor() throws {
    // Of before 1.0, later ones, and those that have one byte of 1.
    let others: [(major: UInt16, minor: UInt16)] = [
      (0, 0), (0, 1), (0, 2), (0, .max), (2, 0), (2, 7), (0x100, 0), (0x101, 0), (.max, .max),
    ]
    for (major, minor) in others {
      let file = try headed {
        $0.replaceSubrange(Field.major..<Field.major + 4, with: littleEndian(major) + littleEndian(minor))
        $0.replaceSubrange(Field.required..<Field.required + 8, with: littleEndian(UInt64.max))
      }
      let error = try #require(refusal(file))
      #expect(error.code == .unsupportedVersion && error.message.hasPrefix("format version \(major).\(minor), "))
    }
  }

  @Test("A required feature of no version yet is refused by name or bit, also of a newer minor version")
  func requiredBits() throws {
    let names = ["'escapes' (bit 0)", "'base-file' (bit 1)", "'encryption' (bit 2)"]
    for bit in 2..<64 {
      for minor in [UInt8(0), 1] {
        let file = try headed {
          $0[Field.minor] = minor
          $0[Field.required + bit / 8] = 1 << UInt8(bit % 8)
        }
        let error = try #require(refusal(file))
        let name = bit < names.count ? names[bit] : "bit \(bit)"
        #expect(error.code == .unsupportedFeature && error.message.hasSuffix("does not know: \(name)"), "\(error)")
        #expect(error.offset == UInt64(Field.required))
      }
    }
    let all = try #require(refusal(headed { $0.replaceSubrange(16..<24, with: littleEndian(UInt64(0b1_0100_0111))) }))
    #expect(all.message.hasSuffix("does not know: 'encryption' (bit 2), bit 6, bit 8"), "\(all)")
    #expect(try refusal(headed { $0[Field.required] = 0b11 }) == nil)
  }

  @Test("A file may say that it may have escapes, and have none")
  func escapesWithoutAny() throws {
    try opened(headed { $0[Field.required] = 1 }).checkAllBytes(threads: 1)
  }

  @Test("Each reserved bit is refused, in every part of a file")
  func reservedBits() throws {
    let patch = try good()
    for bit in 0..<8 {
      let mask = UInt8(1) << UInt8(bit)
      for at in Field.reserved {
        #expect(refusal(patch.sealed(headerByte: at, mask))?.code == .reservedBits, "header \(at), bit \(bit)")
      }
      for at in 72..<80 {
        #expect(refusal(patch.sealed(trailerByte: at, mask))?.code == .reservedBits, "trailer \(at), bit \(bit)")
      }
      var places = Array(CheckpointPatch.reservedOfDirectory)
      for tensor in 0..<patch.count(.tensors) {
        let at = patch.record(tensor) + RecordField.reserved
        places += [at, at + 1]
      }
      for chunk in 0..<patch.count(.chunks) {
        let at = patch.chunk(chunk) + ChunkField.reserved
        places += [at, at + 1]
      }
      // Bit 0 of the flags says that a table is an import.
      if bit > 0 { places.append(patch.tables + TableField.flags) }
      for at in places {
        var changed = patch
        changed.directory[at] |= mask
        #expect(refusal(changed.sealed())?.code == .reservedBits, "directory \(at), bit \(bit)")
      }
    }
  }
}
