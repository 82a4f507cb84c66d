import QCodec

@testable import QCheckpoint

/// Attacks on the chunk table, the map tables and the names.
extension Attack {
  /// Sets a field of a chunk's record; chunk 1 is the lossless tensor's.
  private static func chunk<Value: FixedWidthInteger & Sendable>(
    _ name: String, _ field: Int, _ value: Value, _ code: QCodecError.Code = .invalidChunkTable, of index: Int = 1
  ) -> Attack {
    Attack("chunk \(index): \(name)", code) { $0.set(directoryAt: $0.chunk(index) + field, value) }
  }

  static let chunks: [Attack] = {
    var list: [Attack] = []
    let offsets: [(String, UInt64)] = [
      ("an overlap", 64), ("in the header", 0), ("unaligned", 129), ("a hole", 1 << 20), ("2^63", 1 << 63),
      ("the end of 64 bits", .max),
    ]
    for (name, offset) in offsets {
      for index in 1..<3 { list.append(chunk(name, ChunkField.offset, offset, of: index)) }
    }
    for length in [0, 1, .max] as [UInt32] {
      list.append(chunk("\(length) stored bytes", ChunkField.storedLength, length))
      list.append(chunk("\(length) raw bytes", ChunkField.rawLength, length))
    }
    for code in [3, 255] as [UInt8] {
      list.append(chunk("compression \(code)", ChunkField.compression, code))
      list.append(chunk("kind \(code)", ChunkField.kind, code))
    }
    list += [
      chunk("compressed without a gain", ChunkField.compression, UInt8(1)),
      chunk("codes for source bytes", ChunkField.kind, ChunkKind.codes.rawValue),
      chunk("a reserved bit", ChunkField.reserved, UInt16(1), .reservedBits),
      chunk("the last reserved bit", ChunkField.reserved, UInt16(1) << 15, .reservedBits),
      chunk("a tensor beyond the last", ChunkField.tensor, UInt32(3)),
      chunk("another tensor's", ChunkField.tensor, UInt32(AttackFile.quantized)),
      lossless("two tensors of one chunk", RecordField.firstChunk, UInt64(0), .invalidChunkTable),
    ]
    return list
  }()

  private static func table<Value: FixedWidthInteger & Sendable>(
    _ name: String, _ field: Int, _ value: Value, _ code: QCodecError.Code = .invalidMapTable
  ) -> Attack {
    Attack("table: \(name)", code) { $0.set(directoryAt: $0.tables + field, value) }
  }

  private static func entries(_ name: String, _ change: @escaping @Sendable (inout [Float]) -> Void) -> Attack {
    Attack("table: \(name)", .invalidMapTable) { $0.replaceTable(change) }
  }

  /// The custom table comes first, then that of the named map.
  static let tables: [Attack] = [
    table("map", TableField.map, UInt8(1)), table("no map", TableField.map, UInt8(255)),
    table("bits", TableField.bits, UInt8(8)), table("signedness", TableField.signed, UInt8(0)),
    table("no entries", TableField.count, UInt32(0)), table("17 entries", TableField.count, UInt32(17)),
    table("2^32 − 1 entries", TableField.count, UInt32.max), table("digest", TableField.digest, UInt64(1)),
    table("a reserved flag", TableField.flags, UInt8(2), .reservedBits),
    table("an import with a known rounding", TableField.flags, UInt8(1), .invalidScheme),
    table("a named map as import", TableField.entries + 64 + TableField.flags, UInt8(1)),
    table("a named map of another digest", TableField.entries + 64 + TableField.digest, UInt64(1)),
    table("a named map with entries", TableField.entries + 64 + TableField.count, UInt32(1)),
    entries("not increasing") { $0.swapAt(3, 4) }, entries("NaN") { $0[3] = .nan },
    entries("beyond −1") { $0[0] = -1.5 }, entries("not ending in +1") { $0[15] = 0.9 },
    entries("padding in its midst") { $0[4] = $0[3] },
  ]

  static let names: [Attack] = {
    let sequences: [(String, [UInt8])] = [
      ("FF", [0xFF]), ("an overlong slash", [0xC0, 0xAF]), ("a surrogate", [0xED, 0xA0, 0x80]),
      ("a continuation", [0x80]), ("beyond Unicode", [0xF4, 0x90, 0x80, 0x80]),
    ]
    var list = sequences.map { name, bytes in
      Attack("name: \(name)", .invalidName) { patch in
        patch.directory.replaceSubrange(patch.names + 1..<patch.names + 1 + bytes.count, with: bytes)
      }
    }
    list += [
      Attack("name: a sequence cut short", .invalidName) { $0.directory[$0.names + 5] = 0xE2 },
      Attack("names: not sorted", .invalidDirectory) { $0.directory[$0.names] = UInt8(ascii: "z") },
      Attack("names: longer before its prefix", .invalidDirectory) { $0.rename(["ab", "a", "z"]) },
      Attack("names: one twice", .duplicateName) { $0.rename(["same", "same", "z"]) },
    ]
    return list
  }()

  static let all = counts + places + kinds + schemes + errors + chunks + tables + names
}
