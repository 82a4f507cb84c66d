import QCodec
import Testing

@testable import QCheckpoint

@Suite("What is inside chunks: scales, codes and the lossless stage")
struct ChunkContentTests {
  private func quantized(_ scheme: Scheme, _ values: [Float], shape: [UInt64]) throws -> CheckpointPatch {
    try CheckpointPatch(checkpoint { try $0.add("t", values, shape: shape, scheme) })
  }

  private func error(_ patch: CheckpointPatch) throws -> QCodecError? {
    let reader = try opened(patch.sealed())
    return inputError { _ = try reader.bytes(ofTensor: 0) }
  }

  @Test("Scales that no rule makes", arguments: [Scheme.Scaling.tensor, .block(32), .row, .column, .rank1])
  func scales(scaling: Scheme.Scaling) throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: scaling)
    let values = momentValues(64 * 64, signed: true, seed: 31)
    for value in [Float.nan, .infinity, -.infinity, -1, -0.0] {
      var patch = try quantized(scheme, values, shape: [64, 64])
      patch.overwrite(chunk: 0, at: 0, littleEndian(floats: [value]))
      let error = try error(patch)
      #expect(error?.code == .invalidScale, "\(value)")
      #expect(error?.tensor == "t")
      #expect(error?.offset == (try opened(patch.sealed())).chunk(0).offset)
    }
  }

  @Test("A signed extreme may be negative, not infinite")
  func signedScales() throws {
    let scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32))
    var patch = try quantized(scheme, [1, -0.5], shape: [2])
    let entries = try MapTable.named(.dynamic, bits: 8, signed: true).entries
    let half = try #require(entries.min { ($0 + 0.5).magnitude < ($1 + 0.5).magnitude })
    #expect(try opened(patch.sealed()).bytes(ofTensor: 0) == littleEndian(floats: [1, half]))
    patch.overwrite(chunk: 0, at: 0, littleEndian(floats: [-2]))
    #expect(try opened(patch.sealed()).bytes(ofTensor: 0) == littleEndian(floats: [-2, -2 * half]))
    patch.overwrite(chunk: 0, at: 0, littleEndian(floats: [-.infinity]))
    #expect(try error(patch)?.code == .invalidScale)
  }

  @Test("The bits after the last code are zero", arguments: [2, 3, 4, 5, 6])
  func padding(bits: Int) throws {
    let scheme = Scheme(map: .linear, bits: bits, signed: true, scaling: .block(32))
    for count in [1, 31, 33] {
      var patch = try quantized(scheme, momentValues(count, signed: true, seed: 32), shape: [UInt64(count)])
      let chunk = try opened(patch.sealed()).chunk(0)
      let last = patch.body[Int(chunk.offset) + chunk.storedLength - 1]
      #expect(last & 1 == 0)
      patch.overwrite(chunk: 0, at: chunk.storedLength - 1, [last | 1])
      let error = try error(patch)
      #expect(error?.code == .invalidCode)
      #expect(error?.tensor == "t" && error?.offset == chunk.offset)
    }
  }

  @Test("A chunk that decompresses to another length, or not at all", arguments: [Compression.lz4, .zstd])
  func decompression(compression: Compression) throws {
    let zeros = [UInt8](repeating: 0, count: 1000)
    let file = try checkpoint(.init(compression: compression, threads: 1)) { try $0.add("t", bytes: zeros) }
    #expect(try opened(file).tensor(0).compressions == [compression])
    let good = try #require(try compression.compressed(zeros))
    let shorter = try #require(try compression.compressed(Array(zeros.dropLast())))
    let longer = try #require(try compression.compressed(zeros + [0]))
    for bytes in [shorter, longer, good + [0], Array(good.dropLast()), Array(good.dropFirst()), noise(40, seed: 33)] {
      var patch = try CheckpointPatch(file)
      patch.replaceLastChunk(bytes)
      for checked in [true, false] {
        let reader = try opened(patch.sealed(), verifyChecksums: checked)
        let error = inputError { _ = try reader.bytes(ofTensor: 0) }
        #expect(error?.code == .decompressionFailed)
        #expect(error?.tensor == "t" && error?.offset == reader.chunk(0).offset)
        #expect(inputError { _ = try reader.payload(ofChunk: 0) }?.code == .decompressionFailed)
      }
    }
    var patch = try CheckpointPatch(file)
    patch.replaceLastChunk(good)
    #expect(patch.sealed() == file)
  }

  @Test("verifyChecksums: false skips chunks' checksums, and those alone")
  func unverified() throws {
    var file = try checkpoint {
      try $0.add("t", bytes: [1, 2, 3, 4])
      try $0.setMetadata(.object([:]))
    }
    let chunk = try opened(file).chunk(0)
    file[Int(chunk.offset) + 2] = 9
    #expect(try opened(file, verifyChecksums: false).bytes(ofTensor: 0) == [1, 2, 9, 4])
    #expect(inputError { _ = try opened(file).bytes(ofTensor: 0) }?.code == .chunkCorrupt)
    let trailer = try CheckpointPatch(file).trailer
    for (offset, code) in [
      (trailer.directoryOffset, QCodecError.Code.directoryCorrupt), (trailer.metadataOffset, .metadataCorrupt),
    ] {
      var damaged = file
      damaged[Int(offset)] ^= 1
      let error = inputError { _ = try opened(damaged, verifyChecksums: false).metadata() }
      #expect(error?.code == code)
    }
  }

  @Test("A code that an imported table gives no value")
  func importedCodes() throws {
    let scheme = Scheme(
      map: .custom, bits: 4, signed: true, scaling: .tensor, customTable: try customTable())
    var patch = try quantized(scheme, [1, -1, 0.5, 0.25, 0.1, 0], shape: [2, 3])
    // The table becomes an import whose last entry is NaN, with no known rounding and so no guarantee.
    let table = patch.tables
    patch.set(directoryAt: table + TableField.entries + 60, Float.nan.bitPattern)
    let entries = Array(patch.directory[table + TableField.entries..<table + TableField.entries + 64])
    patch.set(directoryAt: table + TableField.digest, xxh3(entries))
    patch.set(directoryAt: table + TableField.flags, UInt8(1))
    patch.set(directoryAt: patch.record(0) + RecordField.rounding, Scheme.Rounding.unknown.rawValue)
    patch.set(directoryAt: patch.record(0) + RecordField.guarantee, Double.nan.bitPattern)
    let reader = try opened(patch.sealed())
    #expect(reader.tensor(0).guaranteedMaxAbsError == nil)
    let error = inputError { _ = try reader.bytes(ofTensor: 0) }
    #expect(error?.code == .invalidCode)
    #expect(error?.index == 0 && error?.tensor == "t")
    // Rows without that code can be read.
    #expect(try reader.rows(1..<2, ofTensor: 0, count: 12).count == 12)
  }
}
