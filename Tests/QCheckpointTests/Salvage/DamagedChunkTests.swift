import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage of files with damaged chunks")
struct DamagedChunkTests {
  /// Three data chunks a tensor: codes, codes after scales, source bytes, and elements that lie across two chunks.
  private static func file() throws -> SalvageFile {
    let values = momentValues(600_000, signed: true, seed: 83)
    return try SalvageFile(
      checkpoint(.init(compression: .lz4, threads: 2)) {
        try $0.add(
          "block", values, shape: [600, 1000], Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
        try $0.add(
          "rank1", values.map(\.magnitude), shape: [600, 1000],
          Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
        try $0.add(
          name: "lossless", dtype: .bf16, shape: [1_250_000], encoding: .lossless(reason: .none),
          source: MemorySource(bytes: momentBytes(values + values + values, dtype: .bf16).dropLast(1_100_000)))
        try $0.add(
          name: "sixbit", dtype: .f6e2m3, shape: [3_495_252], encoding: .lossless(reason: .dtype),
          source: MemorySource(bytes: noise(2_621_439, seed: 84)))
        try $0.add("after", bytes: noise(1000, seed: 85))
      })
  }

  /// Where the data chunks of each tensor begin and end, by its name; what is lost with a chunk.
  private static let bounds: [(name: String, lost: [Range<UInt64>])] = [
    ("block", [0..<262_144, 262_144..<524_288, 524_288..<600_000]),
    ("rank1", [0..<262_144, 262_144..<524_288, 524_288..<600_000]),
    ("lossless", [0..<524_288, 524_288..<1_048_576, 1_048_576..<1_250_000]),
    ("sixbit", [0..<1_398_102, 1_398_101..<2_796_203, 2_796_202..<3_495_252]),
  ]

  @Test("Each set of three chunks: exactly their elements are lost")
  func everySubset() throws {
    let file = try Self.file()
    #expect(file.tensors.map(\.name) == Self.bounds.map(\.name) + ["after"])
    #expect(file.tensors.map(\.chunks.count) == [3, 4, 3, 3, 1])
    for set in 0..<8 {
      var damaged = file.bytes
      for tensor in file.tensors.dropLast() {
        for chunk in 0..<3 where set >> chunk & 1 == 1 {
          let range = file.range(ofChunk: tensor.chunks[tensor.chunks.count - 3 + chunk])
          damaged[set & 1 == 0 ? range.lowerBound : range.upperBound - 1] ^= 0x40
        }
      }
      let salvage = try salvaged(damaged)
      for ((name, ranges), tensor) in zip(Self.bounds, salvage.tensors) {
        let lost = (0..<3).filter { set >> $0 & 1 == 1 }.map { ranges[$0] }
        #expect(tensor.lost == Self.joined(lost), "\(name), damaged \(String(set, radix: 2))")
      }
      try file.expectWhole(salvage, set == 0 ? file.tensors.map(\.name) : ["after"], "\(String(set, radix: 2))")
    }
  }

  private static func joined(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    ranges.reduce(into: []) { result, next in
      if let last = result.last, last.upperBound >= next.lowerBound {
        result[result.count - 1] = last.lowerBound..<next.upperBound
      } else {
        result.append(next)
      }
    }
  }

  @Test("Without its scales a tensor is lost, and no other")
  func scales() throws {
    let file = try Self.file()
    var damaged = file.bytes
    damaged[file.range(ofChunk: file.tensors[1].chunks[0]).lowerBound + 17] ^= 1
    let salvage = try salvaged(damaged)
    #expect(salvage.tensors[1].lost == [0..<600_000])
    try file.expectWhole(salvage, ["block", "lossless", "sixbit", "after"], "scales")
  }

  @Test("What the system cannot read is lost, and no more")
  func unreadable() throws {
    let file = try Self.file()
    let memory = MemorySource(bytes: file.bytes)
    let bad = file.range(ofChunk: 1)
    let broken = UInt64(bad.lowerBound + 5000)..<UInt64(bad.lowerBound + 5512)
    let source = unsafe CallbackSource(byteCount: memory.byteCount) { offset, target throws(QCodecError) in
      guard !broken.overlaps(offset..<offset + UInt64(target.count)) else { throw QCodecError(.io, "a bad sector") }
      try unsafe memory.read(at: offset, into: target)
    }
    let salvage = try Salvage(source: source)
    #expect(salvage.tensors.map(\.name) == file.tensors.map(\.name))
    // The walk goes on at the next tensor.
    #expect(salvage.tensors[0].lost == [262_144..<600_000])
    try file.expectWhole(salvage, ["rank1", "lossless", "sixbit", "after"], "a bad sector")
  }
}
