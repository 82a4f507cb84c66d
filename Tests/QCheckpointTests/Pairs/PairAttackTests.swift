import QCodec
import Testing

@testable import QCheckpoint

@Suite("Hostile references with right checksums")
struct PairAttackTests {
  /// By name: two pairs of one shape, a pair of another, a signed, a lossless and an unsigned tensor.
  private static let names = ["m0", "m1", "m2", "other", "signed", "unsigned", "v0", "v1", "v2"]

  private static func file() throws -> [UInt8] {
    try checkpoint { writer in
      for (index, shape) in [[40], [40], [8, 5]].enumerated() as EnumeratedSequence<[[UInt64]]> {
        try Pair(shape: shape, seed: UInt64(index)).with {
          $0.names = ("m\(index)", "v\(index)")
          $0.epsilon = 1e-8
        }.add(to: writer)
      }
      try writer.add("other", bytes: noise(40, seed: 3))
      try writer.add(
        "signed", momentValues(40, signed: true, seed: 4),
        Scheme(map: .linear, bits: 8, signed: true, scaling: .block(64)))
      try writer.add(
        "unsigned", momentValues(40, signed: false, seed: 5),
        Scheme(map: .linear, bits: 8, signed: false, scaling: .block(64)))
    }
  }

  private static func place(_ name: String) -> Int { names.firstIndex(of: name) ?? -1 }

  private func error(_ change: (inout CheckpointPatch) -> Void) throws -> QCodecError? {
    var patch = try CheckpointPatch(Self.file())
    #expect(throws: Never.self) { _ = try opened(patch.sealed()).everything() }
    change(&patch)
    return inputError { _ = try opened(patch.sealed()) }
  }

  @Test(
    "References that lead nowhere",
    arguments: [
      ("m0", 9), ("m0", 1 << 32), ("m0", .max - 1), ("m0", .max), ("m0", 0), ("m0", 1), ("m0", 3), ("m0", 4), ("m0", 8),
      ("m1", 6), ("m0", 7), ("m2", 6), ("unsigned", 6), ("v0", 0), ("other", 6), ("signed", 6),
    ] as [(String, UInt64)])
  func references(name: String, reference: UInt64) throws {
    let found = try error { $0.set(directoryAt: $0.record(Self.place(name)) + RecordField.reference, reference) }
    #expect(found?.code == .invalidReference, "\(String(describing: found))")
    let patch = try CheckpointPatch(Self.file())
    // Two that refer to one: the later is refused.
    let at = name == "m0" && reference == 7 ? "m1" : name
    #expect(found?.tensor == at)
    let place = patch.trailer.directoryOffset + UInt64(patch.record(Self.place(at)) + RecordField.reference)
    #expect(found?.offset == place)
  }

  @Test("Two first moments with each other's second moments: the chunks tell")
  func crossed() throws {
    let found = try error {
      $0.set(directoryAt: $0.record(Self.place("m0")) + RecordField.reference, UInt64(Self.place("v1")))
      $0.set(directoryAt: $0.record(Self.place("m1")) + RecordField.reference, UInt64(Self.place("v0")))
    }
    #expect(found?.code == .invalidChunkTable)
  }

  @Test("Strides of pairs and of others", arguments: names)
  func strides(name: String) throws {
    let isPaired = name.first == "m" || name.first == "v"
    for stride in [0, isPaired ? 1 : 2, 3, 255] as [UInt8] {
      let found = try error { $0.set(directoryAt: $0.record(Self.place(name)) + RecordField.stride, stride) }
      #expect(found?.code == .invalidChunkTable, "\(stride)")
      #expect(found?.tensor == name)
    }
  }

  @Test("Chunks of a pair in another order")
  func order() throws {
    let found = try error { patch in
      for (index, name) in [(0, "m0"), (1, "v0")] {
        patch.set(directoryAt: patch.chunk(index) + ChunkField.tensor, UInt32(Self.place(name)))
      }
    }
    #expect(found?.code == .invalidChunkTable)
    // A first moment whose own chunks would begin elsewhere.
    for first in [1, 3, 9] as [UInt64] {
      let moved = try error { $0.set(directoryAt: $0.record(Self.place("v0")) + RecordField.firstChunk, first) }
      #expect(moved?.code == .invalidChunkTable, "\(first)")
    }
  }

  @Test("A second moment that cannot be referred to, by its own record")
  func second() throws {
    let signed = try error { $0.set(directoryAt: $0.record(Self.place("v0")) + RecordField.signed, UInt8(1)) }
    #expect(signed?.code == .invalidReference || signed?.code == .invalidScheme)
    let unknown = try error { patch in
      let record = patch.record(Self.place("m0"))
      patch.set(directoryAt: record + RecordField.signed, UInt8(0))
    }
    #expect(unknown?.code == .invalidMapTable || unknown?.code == .invalidScheme)
  }

  // MARK: Pair records

  @Test(
    "Pair records: tensors that are none, twice, out of order, of other shapes",
    arguments: [
      (0, 9, 6), (0, .max, 6), (0, 0, 9), (0, 0, 0), (1, 0, 7), (0, 1, 6), (0, 2, 8), (0, 0, 8), (2, 2, 6),
    ] as [(Int, UInt32, UInt32)])
  func pairs(index: Int, first: UInt32, second: UInt32) throws {
    let found = try error {
      $0.set(directoryAt: $0.pair(index), first)
      $0.set(directoryAt: $0.pair(index) + 4, second)
    }
    #expect(found?.code == .invalidReference, "\(String(describing: found))")
    #expect(found?.offset != nil)
  }

  @Test("Pair records: errors that nobody measures", arguments: [8, 16, 24, 32])
  func numbers(offset: Int) throws {
    for value in [Double.nan, .infinity, -.infinity, -1, -.leastNonzeroMagnitude] {
      let found = try error { $0.set(directoryAt: $0.pair(1) + offset, value.bitPattern) }
      let patch = try CheckpointPatch(Self.file())
      #expect(found?.code == .invalidDirectory, "\(value)")
      #expect(found?.offset == patch.trailer.directoryOffset + UInt64(patch.pair(1)), "\(value)")
    }
  }

  @Test("Every byte of the directory, checksums made right: a typed error or a file that can be used")
  func everyByte() throws {
    let good = try CheckpointPatch(Self.file())
    good.expectEveryByteIsChecked { good.isFree($0) || (good.pairs..<good.tables).contains($0) }
  }

  @Test("Every byte of the file: the error of its part")
  func damage() throws {
    let file = try Self.file()
    let codes = try CheckpointPatch(file).codes()
    for at in file.indices {
      var damaged = file
      damaged[at] ^= 0x10
      let found = inputError {
        let reader = try opened(damaged)
        try reader.checkAllBytes(threads: 1)
        _ = try reader.everything()
      }
      #expect(found?.code == codes[at], "byte \(at)")
    }
  }

  @Test("A damaged chunk of the second moment names it, read through the first")
  func damagedSecond() throws {
    let file = try Self.file()
    let reader = try opened(file)
    let (m, v) = (try reader.named("m0"), try reader.named("v0"))
    let chunk = reader.chunk(v.info.chunks[0])
    var damaged = file
    damaged[Int(chunk.offset) + 9] ^= 1
    let bad = try opened(damaged)
    for index in [m.index, v.index] {
      let found = inputError { _ = try bad.bytes(ofTensor: index) }
      #expect(found?.code == .chunkCorrupt && found?.tensor == "v0" && found?.offset == chunk.offset)
    }
    // With a right checksum: ends that no encoder writes.
    var patch = try CheckpointPatch(file)
    patch.overwrite(chunk: v.info.chunks[0], at: 4, [0, 0, 0xC0, 0x7F])
    let forged = try opened(patch.sealed())
    for index in [m.index, v.index] {
      let found = inputError { _ = try forged.bytes(ofTensor: index) }
      #expect(found?.code == .invalidScale && found?.tensor == "v0" && found?.offset == chunk.offset)
    }
  }
}
