import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage of pairs")
struct PairSalvageTests {
  /// Pairs without scales of their own, with scales of either, and a tensor between.
  private static func file() throws -> SalvageFile {
    try SalvageFile(
      checkpoint(.init(compression: .none, threads: 1)) {
        try Pair(shape: [90], seed: 1).with { $0.names = ("a.m", "a.v") }.add(to: $0)
        try $0.add("b", bytes: noise(70, seed: 2))
        try Pair(shape: [66, 67], seed: 3).with {
          $0.names = ("c.m", "c.v")
          $0.first = .quantized(updateScheme(.row))
          $0.second = .quantized(Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
        }.add(to: $0)
        try Pair(shape: [50], seed: 4).with {
          $0.names = ("d.m", "d.v")
          $0.first = .quantized(updateScheme(.tensor))
        }.add(to: $0)
      })
  }

  /// Whether all chunks of a tensor lie before a cut, with those of its second moment.
  private func isWhole(_ info: TensorInfo, in file: SalvageFile, length: Int) -> Bool {
    let own = info.chunks.allSatisfy { file.range(ofChunk: $0).upperBound <= length }
    guard let second = info.reference else { return own }
    return own && isWhole(file.reader.tensor(second), in: file, length: length)
  }

  @Test("Cut at every length: the tensors that are whole, a first moment only with its second")
  func everyLength() throws {
    let file = try Self.file()
    #expect(file.tensors.map(\.name) == ["a.v", "a.m", "b", "c.m", "c.v", "d.m", "d.v"])
    for length in Format.headerSize..<file.bytes.count {
      let whole = file.tensors.filter { isWhole($0, in: file, length: length) }.map(\.name)
      let salvage = try salvaged(Array(file.bytes[..<length]))
      try file.expectWhole(salvage, whole, "\(length) bytes")
      guard length % 64 == 1 else { continue }
      let error = inputError { _ = try opened(Array(file.bytes[..<length])) }
      #expect(error?.code == .truncated, "\(length) bytes")
    }
  }

  @Test("Each set of lost chunks of a pair of three: the first moment loses what either has lost")
  func everySubset() throws {
    let file = try SalvageFile(Pair(shape: [600_000], seed: 5).file())
    let (m, v) = (try file.reader.named("m"), try file.reader.named("v"))
    let ranges: [Range<UInt64>] = [0..<262_144, 262_144..<524_288, 524_288..<600_000]
    for lost in 0..<64 {
      var damaged = file.bytes
      for chunk in 0..<3 {
        if lost >> chunk & 1 == 1 { damaged[file.range(ofChunk: v.info.chunks[chunk]).lowerBound + 5] ^= 1 }
        if lost >> (chunk + 3) & 1 == 1 { damaged[file.range(ofChunk: m.info.chunks[chunk]).lowerBound + 5] ^= 1 }
      }
      let salvage = try salvaged(damaged)
      func elements(_ bits: Int) -> Set<Int> { Set((0..<3).filter { bits >> $0 & 1 == 1 }) }
      for (name, bits) in [("v", lost & 7), ("m", (lost & 7) | lost >> 3)] {
        let tensor = try #require(salvage.tensors.first { $0.name == name })
        let found = Set(ranges.indices.filter { index in tensor.lost.contains { $0.overlaps(ranges[index]) } })
        #expect(found == elements(bits), "\(name), \(lost)")
        #expect(tensor.lost.reduce(0) { $0 + $1.count } == found.reduce(0) { $0 + ranges[$1].count })
      }
      if lost.nonzeroBitCount < 2 { try file.expectRight(salvage, "\(lost)") }
    }
  }

  @Test("Damaged leads: whatever is called whole is what it was")
  func leads() throws {
    let file = try Self.file()
    for index in 0..<file.reader.chunkCount {
      for at in file.lead(ofChunk: index) {
        var damaged = file.bytes
        damaged[at] ^= 0xFF
        try file.expectRight(salvaged(damaged), "byte \(at)")
      }
    }
  }

  @Test("A whole file is salvaged whole; the pairs are pairs")
  func whole() throws {
    let file = try Self.file()
    let salvage = try salvaged(file.bytes)
    try file.expectWhole(salvage, file.tensors.map(\.name), "the whole file")
    for name in ["a", "c", "d"] {
      let (m, v) = (try salvage.reader.named("\(name).m"), try salvage.reader.named("\(name).v"))
      #expect(m.info.reference == v.index)
    }
  }

  @Test("Two first moments that refer to one second moment: the first has it, the other is lost")
  func shared() throws {
    let file = try SalvageFile(
      checkpoint(.init(compression: .none, threads: 1)) {
        try Pair(shape: [300_000], seed: 6).with { $0.names = ("a.m", "a.v") }.add(to: $0)
        try Pair(shape: [300_000], seed: 7).with { $0.names = ("b.m", "b.v") }.add(to: $0)
      })
    let info = try file.reader.named("b.m").info
    var preamble = Preamble(
      name: Array("b.m".utf8), dtype: .f32, shape: info.shape, scheme: info.scheme, reference: 2)
    let place = try #require(file.bytes.firstRange(of: preamble.bytes)).lowerBound
    preamble.reference = 0
    var forged = file.bytes
    forged.replaceSubrange(place..<place + preamble.bytes.count, with: preamble.bytes)
    let salvage = try salvaged(forged)
    try file.expectWhole(salvage, ["a.v", "a.m", "b.v"], "b.m refers to a.v")
    #expect(salvage.tensors.first { $0.name == "b.m" }?.lost == [0..<300_000])
  }
}
