import Foundation
import QCodec
import Testing

@testable import QCheckpoint

@Suite("Damaged files: every byte is covered")
struct DamageTests {
  /// A few KB with a tensor of every kind, in block, rank1 and custom schemes, lossless plain and compressed.
  static func file() throws -> [UInt8] {
    try checkpoint(.init(compression: .lz4, threads: 1)) {
      try $0.add(
        "block", momentValues(5 * 29, signed: true, seed: 1), shape: [5, 29],
        Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32)))
      try $0.add(
        "rank1", momentValues(64 * 64, signed: false, seed: 2), shape: [64, 64],
        Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
      try $0.add(
        "custom", momentValues(77, signed: true, seed: 3),
        Scheme(
          map: .custom, bits: 4, signed: true, scaling: .block(32), rounding: .stochastic, seed: 9,
          customTable: try customTable()))
      try $0.add("plain", bytes: noise(100, seed: 4))
      try $0.add(
        name: "planes", dtype: .u32, shape: [200], encoding: .lossless(reason: .dtype),
        source: MemorySource(bytes: (0..<UInt32(200)).flatMap { littleEndian($0) }))
      try $0.setMetadata(.object(["step": .integer(7), "lr": .number(0.001)]))
    }
  }

  /// What a careful user does with a file.
  private func useAll(_ bytes: [UInt8]) throws -> [[UInt8]] {
    let reader = try opened(bytes)
    try reader.checkAllBytes(threads: 1)
    return try reader.everything()
  }

  private func error(_ bytes: [UInt8]) -> QCodecError? { inputError { _ = try useAll(bytes) } }

  @Test("The file holds what the sweep is to cover")
  func contents() throws {
    let reader = try opened(Self.file())
    let kinds = Set((0..<reader.chunkCount).map { reader.chunk($0).kind })
    #expect(kinds == [.codes, .scales, .lossless])
    #expect(reader.tensor(try #require(reader.find("rank1"))).scheme?.scaling == .rank1)
    #expect(reader.tensor(try #require(reader.find("planes"))).compressions == [.lz4])
    #expect(reader.tensor(try #require(reader.find("plain"))).compressions == [.none])
    #expect((2048...16_384).contains(reader.fileBytes))
  }

  @Test("Every byte changed gives the error of its part", arguments: [UInt8(0xFF), 1])
  func everyByte(mask: UInt8) throws {
    let file = try Self.file()
    let codes = try CheckpointPatch(file).codes()
    var damaged = file
    for at in file.indices {
      damaged[at] ^= mask
      let error = error(damaged)
      #expect(error?.code == codes[at], "byte \(at) of \(file.count)")
      #expect(error?.offset != nil, "byte \(at)")
      damaged[at] ^= mask
    }
    #expect(error(damaged) == nil)
  }

  @Test("A damaged chunk spoils its own tensor, which the error names, and no other")
  func chunks() throws {
    let file = try Self.file()
    let good = try opened(file)
    let expected = try good.everything()
    for index in 0..<good.chunkCount {
      let chunk = good.chunk(index)
      for place in [0, chunk.storedLength / 2, chunk.storedLength - 1] {
        var damaged = file
        damaged[Int(chunk.offset) + place] ^= 0x10
        let reader = try opened(damaged)
        for tensor in 0..<reader.tensorCount where tensor != chunk.tensor {
          #expect(try reader.bytes(ofTensor: tensor) == expected[tensor])
        }
        let error = inputError { _ = try reader.bytes(ofTensor: chunk.tensor) }
        #expect(error?.code == .chunkCorrupt)
        #expect(error?.tensor == good.tensor(chunk.tensor).name)
        #expect(error?.offset == chunk.offset)
      }
    }
  }

  @Test("Without checksums nothing that a chunk holds brings the reader down")
  func unchecked() throws {
    let file = try Self.file()
    let good = try opened(file)
    let expected = try good.everything()
    for index in 0..<good.chunkCount {
      let chunk = good.chunk(index)
      for place in 0..<chunk.storedLength {
        var damaged = file
        damaged[Int(chunk.offset) + place] ^= 0xFF
        let reader = try opened(damaged, verifyChecksums: false)
        do throws(QCodecError) {
          let bytes = try reader.bytes(ofTensor: chunk.tensor)
          #expect(bytes.count == expected[chunk.tensor].count)
        } catch {
          #expect([.invalidScale, .invalidCode, .decompressionFailed].contains(error.code), "\(error)")
          #expect(error.tensor == good.tensor(chunk.tensor).name && error.offset == chunk.offset)
        }
        let found = inputError { try reader.checkAllBytes(threads: 1) }
        #expect(found?.code == .chunkCorrupt)
      }
    }
  }

  @Test("Cut short at every length")
  func truncation() throws {
    let file = try Self.file()
    #expect(error([])?.code == .notACheckpoint)
    for length in 1..<file.count {
      let error = error(Array(file[..<length]))
      #expect(error?.code == .truncated, "\(length) of \(file.count) bytes")
      #expect(error?.offset != nil, "\(length) of \(file.count) bytes")
    }
  }

  @Test("Bytes after the end")
  func appended() throws {
    let file = try Self.file()
    for count in [1, 8, 63, 64, 96, 160] {
      #expect(error(file + [UInt8](repeating: 0, count: count))?.code == .truncated)
      #expect(error(file + noise(count, seed: 5))?.code == .truncated)
    }
    #expect(error(file + file.suffix(Format.trailerSize))?.code == .trailerCorrupt)
    #expect(error(file + file)?.code == .trailerCorrupt)
    #expect(error(Array(file.dropFirst(64)))?.code == .notACheckpoint)
  }

  @Test("A file that shrinks while it is open is an error, not a crash")
  func shrinking() throws {
    let folder = try InputFolder()
    let path = try folder.write(Self.file())
    let reader = try CheckpointReader(path: path)
    let handle = try #require(FileHandle(forWritingAtPath: path))
    try handle.truncate(atOffset: 100)
    try handle.close()
    let error = inputError { try reader.checkAllBytes(threads: 1) }
    #expect(error?.code == .truncated)
  }
}
