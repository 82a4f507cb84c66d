import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// Hashes of tensors; Tests/Python/test_hashes.py sets them beside an implementation of their own.
@Suite struct HashTests {
  private func hashes(_ document: InputDocument, stored: Bool = true, threads: Int = 1) throws -> DocumentHashes {
    try DocumentHasher(document, stored: stored, threads: threads).hashes()
  }

  private func hash(_ dtype: DType, _ shape: [UInt64], _ bytes: [UInt8]) throws -> Hash128 {
    try hashes(original([Sample("x", dtype: dtype, shape: shape, bytes: bytes)])).tensors[0].values
  }

  @Test func aHashIsItsDigits() throws {
    let hash = Hash128(high: 0x0001_0203_0405_0607, low: 0xFFFE_FDFC_FBFA_F9F8)
    #expect(hash.description == "0001020304050607fffefdfcfbfaf9f8")
    #expect(hash.bytes == [0, 1, 2, 3, 4, 5, 6, 7, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8])
    #expect(Hash128(hash.description) == hash)
    for text in ["", "0", hash.description.uppercased(), hash.description + "0", " " + hash.description.dropFirst()] {
      #expect(Hash128(text) == nil, "\(text)")
    }
    // That of no bytes, and of what came in pieces.
    #expect(StreamingHash128().value.description == "99aa06d3014798d86001c324468d497f")
    let (whole, pieces) = (StreamingHash128(), StreamingHash128())
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
    whole.append(bytes)
    for start in stride(from: 0, to: 1000, by: 37) { pieces.append(Array(bytes[start..<min(start + 37, 1000)])) }
    #expect(whole.value == pieces.value)
  }

  @Test func dtypeShapeAndBitsCount() throws {
    let bytes: [UInt8] = [0, 0, 0x80, 0x3F, 0, 0, 0, 0]
    let all = try [
      hash(.f32, [2], bytes), hash(.f32, [2, 1], bytes), hash(.f32, [1, 2], bytes), hash(.i32, [2], bytes),
      hash(.f64, [1], bytes), hash(.f64, [], bytes), hash(.f32, [2], [0, 0, 0x80, 0x3F, 0, 0, 0, 0x80]),
      hash(.f32, [0], []), hash(.f32, [0, 1], []), hash(.bool, [0], []),
    ]
    #expect(Set(all).count == all.count)
    // The vectors of Spec/Hashes.md.
    #expect(try hash(.i64, [2, 0], []).description == "4498d4f38552d1930fc79a39d7840720")
    #expect(
      try hash(.bf16, [2, 2], [0, 0, 0, 0x80, 0x80, 0x3F, 0x80, 0xBF]).description
        == "0cbfeaeb2786f033baab85a3eed86cd2")
  }

  /// Several chunks, scale vectors and pairs among them.
  private func samples() -> [Sample] {
    let values = heavyTailed(count: 300_000, signed: false, dtype: .f32, seed: 71)
    let pair = PairSample(pairValues(300_000, seed: 72))
    return [
      Sample(
        "rank1", shape: [500, 600], values,
        scheme: Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1)),
      Sample("lossless", dtype: .f32, shape: [300_000], bytes: Narrow.bytes(values, dtype: .f32)),
      Sample("bytes", dtype: .u8, shape: [2_500_000], bytes: (0..<2_500_000).map { UInt8($0 % 251) }),
      Sample("empty", dtype: .f32, shape: [0], bytes: []),
    ] + pair.samples
  }

  @Test func valuesAreThoseOfWhatDecodes() throws {
    let samples = samples()
    let file = try document(
      checkpoint: pairFile([PairSample(pairValues(300_000, seed: 72))], others: Array(samples.prefix(4))))
    let reader = try #require(file.checkpoint)
    // The same tensors in memory, decoded as a whole.
    let decoded = try (0..<reader.tensorCount).map { index in
      let info = reader.tensor(index)
      return Sample(info.name, dtype: info.dtype, shape: info.shape, bytes: try reader.bytes(ofTensor: index))
    }
    let plain = try hashes(original(decoded.reversed()))
    for threads in [1, 3] {
      let found = try hashes(file, threads: threads)
      #expect(found.tensors.map(\.name) == ["bytes", "empty", "exp_avg", "exp_avg_sq", "lossless", "rank1"])
      #expect(found.tensors.map(\.values) == plain.tensors.map(\.values))
      #expect(found.values == plain.values)
      #expect(found == (try hashes(file)))
    }
    #expect(plain.stored == nil && plain.tensors.allSatisfy { $0.stored == nil })
    let without = try hashes(file, stored: false)
    #expect(without.values == plain.values && without.stored == nil)
  }

  @Test func storedBytesAreTheChunksInOrder() throws {
    let samples = Array(samples().prefix(4))
    let bytes = try checkpoint(samples)
    let file = try document(checkpoint: bytes)
    let reader = try #require(file.checkpoint)
    let found = try hashes(file)
    for (index, tensor) in found.tensors.enumerated() {
      let state = StreamingHash128()
      for place in reader.tensor(index).chunks {
        let chunk = reader.chunk(place)
        state.append(Array(bytes[Int(chunk.offset)..<Int(chunk.offset) + chunk.storedLength]))
      }
      #expect(tensor.stored == state.value, "\(tensor.name)")
    }
    #expect(found.stored != nil && found.stored != found.values)
  }

  @Test func everyByteOfEveryNameAndTensorCounts() throws {
    func whole(_ tensors: [(String, [UInt8])]) throws -> Hash128 {
      try hashes(original(tensors.map { Sample($0, dtype: .u8, shape: [UInt64($1.count)], bytes: $1) })).values
    }
    let all = try [
      whole([]), whole([("a", [1])]), whole([("b", [1])]), whole([("a", [2])]), whole([("a", [1]), ("b", [1])]),
      whole([("a", [2]), ("b", [1])]), whole([("a", [1]), ("b", [2])]), whole([("ab", [1])]),
    ]
    #expect(Set(all).count == all.count)
    #expect(try whole([("b", [2]), ("a", [1])]) == all[6])
  }

  @Test func aDamagedChunkIsAnError() throws {
    var bytes = try checkpoint(Array(samples().prefix(4)))
    let reader = try CheckpointReader(source: MemorySource(bytes: bytes))
    let index = try #require(reader.find("lossless"))
    bytes[Int(reader.chunk(reader.tensor(index).chunks[0]).offset)] ^= 1
    let error = failure { _ = try hashes(document(checkpoint: bytes)) }
    #expect(error?.code == .chunkCorrupt && error?.tensor == "lossless")
    let twice = original([
      Sample("x", dtype: .u8, shape: [0], bytes: []), Sample("x", dtype: .u8, shape: [0], bytes: []),
    ])
    #expect(failure { _ = try hashes(twice) }?.code == .duplicateName)
  }
}
