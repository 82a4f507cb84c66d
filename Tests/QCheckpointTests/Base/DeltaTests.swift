import QCodec
import Testing

@testable import QCheckpoint

@Suite("Checkpoints with a base")
struct DeltaTests {
  @Test("Decode to what a checkpoint without one decodes to", arguments: Compression.allCases)
  func contents(compression: Compression) throws {
    let base = try opened(Run.save(0, compression))
    let whole = try opened(Run.save(1, compression))
    let bytes = try Run.save(1, compression, base: base)
    let delta = try opened(bytes, bases: [base])
    #expect(delta.baseDigest == base.digest && delta.base?.digest == base.digest)
    #expect(bytes.count < Int(whole.fileBytes))
    #expect(try delta.everything(threads: 2) == whole.everything())
    try delta.checkAllBytes(threads: 3)
    #expect(try delta.damage(threads: 2).isEmpty)
    #expect(whole.baseDigest == nil && whole.base == nil && whole.baseFailure == nil)
    // Rows, too, of the changed chunk, of the one that stays and of a quantized tensor.
    for (name, rows) in [("params", UInt64(3)..<5), ("params", 290..<300), ("rows", 0..<7)] {
      let index = try #require(delta.find(name))
      let count = Int(delta.tensor(index).sourceBytes / delta.tensor(index).shape[0]) * rows.count
      let (one, other) = (
        try delta.rows(rows, ofTensor: index, count: count), try whole.rows(rows, ofTensor: index, count: count)
      )
      #expect(one == other, "\(name) \(rows)")
    }
  }

  @Test("Refer to equal chunks, and store differences where they are smaller")
  func relationsOfChunks() throws {
    let base = try opened(Run.save(0))
    let delta = try opened(Run.save(1, base: base), bases: [base])
    #expect(try relations(delta, "params") == [.difference, .equal])
    #expect(try relations(delta, "still") == [.equal] && relations(delta, "wide") == [.difference])
    #expect(try relations(delta, "rows") == [.equal, .equal])
    #expect(try relations(delta, "codes") == [.own, .own])
    // Twice the first moment has the codes of the first, under other scales.
    #expect(try relations(delta, "v") == [.equal] && relations(delta, "m") == [.difference])
    #expect(try relations(delta, "step") == [.own] && relations(delta, "none") == [])
    let info = delta.tensor(try #require(delta.find("params")))
    #expect(info.baseChunks == 1 && info.differenceChunks == 1 && info.compressions == [.none, .zstd])
    for place in info.chunks where delta.chunk(place).relation == .equal {
      #expect(delta.chunk(place).storedLength == 0 && delta.chunk(place).rawLength > 0)
      #expect(delta.chunk(place).hash == xxh3(try delta.payload(ofChunk: place)))
      #expect(try delta.storedBytes(ofChunk: place) == [])
    }
    // Without a lossless stage there is nothing that a difference would gain.
    let plain = try opened(Run.save(1, .none, base: base), bases: [base])
    #expect(try relations(plain, "params") == [.own, .equal])
  }

  @Test("Written by 1, 2 and 7 threads are the same bytes", arguments: Compression.allCases)
  func threads(compression: Compression) throws {
    let base = try opened(Run.save(0, compression))
    let expected = try Run.save(1, compression, base: base, name: "b.qckpt", threads: 1)
    for threads in [1, 2, 7] {
      let again = try Run.save(1, compression, base: base, name: "b.qckpt", threads: threads)
      #expect(again == expected, "\(threads) threads")
      let whole = try Run.save(1, compression)
      #expect(try flattened(opened(expected, bases: [base]), threads: threads) == whole, "\(threads) threads")
    }
  }

  @Test("Flatten to the bytes that would have been written without a base", arguments: Compression.allCases)
  func flattening(compression: Compression) throws {
    let base = try opened(Run.save(0, compression))
    let middle = try opened(Run.save(1, compression, base: base), bases: [base])
    let last = try opened(Run.save(2, compression, base: middle), bases: [middle])
    #expect(last.chainLength == 2)
    #expect(try flattened(middle) == Run.save(1, compression))
    #expect(try flattened(last) == Run.save(2, compression))
    #expect(try last.everything() == opened(Run.save(2, compression)).everything())
    // What stands alone stays as it is.
    #expect(try flattened(base) == Run.save(0, compression))
  }

  @Test("A base of another lossless stage serves as well")
  func otherStages() throws {
    for (first, second) in [(Compression.none, Compression.zstd), (.lz4, .zstd), (.zstd, .none)] {
      let base = try opened(Run.save(0, first))
      let delta = try opened(Run.save(1, second, base: base), bases: [base])
      #expect(try delta.everything() == opened(Run.save(1, second)).everything())
      #expect(try relations(delta, "still") == [.equal])
    }
  }

  @Test("An equal checkpoint is nothing but references")
  func equalCheckpoint() throws {
    let base = try opened(Run.save(3, .lz4))
    let delta = try opened(Run.save(3, .zstd, base: base), bases: [base])
    #expect((0..<delta.chunkCount).allSatisfy { delta.chunk($0).relation == .equal })
    #expect(try flattened(delta) == Run.save(3, .lz4))
  }

  @Test("Imports and pushed tensors refer too")
  func otherWays() throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .row)
    func write(_ base: CheckpointReader?) throws -> [UInt8] {
      try checkpoint(Run.options(.lz4, base: base)) { writer in
        try writer.addImport(
          name: "import", shape: [2, 8], scheme: scheme, scales: MemorySource([1, 2]),
          codes: MemorySource(bytes: Array(0..<16)))
        try writer.add(name: "pushed", dtype: .u8, shape: [16], encoding: .lossless(reason: .none)) {
          (sink: TensorSink) throws(QCodecError) in
          try unsafe sink.append(Array(UInt8(0)..<16).span.bytes)
        }
      }
    }
    let base = try opened(write(nil))
    let delta = try opened(write(base), bases: [base])
    #expect(try relations(delta, "import") == [.equal, .equal] && relations(delta, "pushed") == [.equal])
    #expect(try delta.everything() == base.everything())
  }
}
