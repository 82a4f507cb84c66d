import Foundation
import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage of hostile files")
struct HostileSalvageTests {
  private static let header = Header().bytes

  @Test("Noise behind a header holds nothing", arguments: 0..<8 as Range<UInt64>)
  func noise(seed: UInt64) throws {
    let salvage = try salvaged(Self.header + QCheckpointTests.noise(40_000 + Int(seed), seed: seed))
    #expect(salvage.tensors.isEmpty, "seed \(seed)")
    #expect(salvage.reader.tensorCount == 0)
  }

  /// A tebibyte that takes no room on the disk, and what stands at both its ends.
  @Test("What a sparse file has no room for is passed over")
  func sparse() throws {
    let file = try SalvageFile(DamageTests.file())
    let first = try #require(file.tensors.first)
    let cut = file.lead(ofChunk: first.chunks[first.chunks.count - 1] + 1).lowerBound
    let folder = try InputFolder()
    let path = try folder.write(Array(file.bytes[..<cut]))
    let handle = try #require(FileHandle(forWritingAtPath: path))
    try handle.seek(toOffset: UInt64(cut) + 1 << 40)
    try handle.write(contentsOf: file.bytes[cut..<file.bytes.count - 200])
    try handle.close()
    let salvage = try Salvage(file: InputFile(path: path))
    // Without the directory, at places that are not theirs: whatever counts as whole is.
    try file.expectRight(salvage, "sparse")
    #expect(salvage.tensors.first?.name == first.name)
    #expect(salvage.tensors.count > 1)
  }

  @Test("Files of one byte throughout", arguments: [UInt8(0), 1, 4, 0xFF])
  func constant(byte: UInt8) throws {
    let salvage = try salvaged(Self.header + [UInt8](repeating: byte, count: 40_000))
    #expect(salvage.tensors.isEmpty)
  }

  @Test("Random damage of any extent: an end, and nothing wrong is called whole", arguments: 0..<200 as Range<UInt64>)
  func damage(seed: UInt64) throws {
    let file = try SalvageFile(DamageTests.file())
    var generator = SeededGenerator(seed: seed)
    var bytes = file.bytes
    for _ in 0...Int.random(in: 0..<40, using: &generator) {
      let start = Int.random(in: Format.magic.count..<bytes.count, using: &generator)
      let end = min(bytes.count, start + Int.random(in: 1...200, using: &generator))
      switch generator.next() % 4 {
      case 0: for at in start..<end { bytes[at] = UInt8(truncatingIfNeeded: generator.next()) }
      case 1: bytes.removeSubrange(start..<end)
      case 2: bytes.insert(contentsOf: bytes[start..<end], at: start)
      default: for at in start..<end { bytes[at] = 0 }
      }
      if bytes.count < Format.headerSize { return }
    }
    let salvage = try salvaged(bytes)
    // Behind a piece that was doubled a tensor may be found twice; each is what it was.
    for index in 0..<salvage.reader.tensorCount {
      let name = salvage.reader.tensor(index).name
      #expect(try salvage.reader.bytes(ofTensor: index, threads: 1) == file.contents[name], "seed \(seed), '\(name)'")
    }
  }

  /// A header, and one chunk of a tensor that promises more.
  private func forged(_ preamble: Preamble, _ chunk: [UInt8], kind: ChunkKind, index: UInt32 = 0) -> [UInt8] {
    let frame = ChunkFrame(
      storedLength: UInt32(chunk.count), compression: .none, kind: kind, tensor: 0, index: index, hash: xxh3(chunk))
    return Self.header + Lead.bytes(after: 64, preamble: preamble, frame: frame) + chunk
  }

  @Test("Shapes that nobody could store: an end, and exact ranges")
  func shapes() throws {
    let block = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    let row = Scheme(map: .linear, bits: 8, signed: true, scaling: .row)
    let mebibyte = [UInt8](repeating: 1, count: 1 << 20)
    let codes = [UInt8](repeating: 0, count: 262_144 + 4096)
    let cases: [(Preamble, [UInt8], ChunkKind, Range<UInt64>)] = [
      (Preamble(name: [97], dtype: .u8, shape: [1 << 60], scheme: nil), mebibyte, .lossless, 1 << 20..<1 << 60),
      (
        Preamble(name: [97], dtype: .u8, shape: [(1 << 61) - 1], scheme: nil), mebibyte, .lossless,
        1 << 20..<(1 << 61) - 1
      ),
      (
        Preamble(name: [97], dtype: .f6e3m2, shape: [3_074_457_345_618_258_600], scheme: nil), mebibyte, .lossless,
        1_398_101..<3_074_457_345_618_258_600
      ),
      (Preamble(name: [97], dtype: .f4, shape: [1 << 61], scheme: nil), mebibyte, .lossless, 1 << 21..<1 << 61),
      (Preamble(name: [97], dtype: .c128, shape: [1 << 56], scheme: nil), mebibyte, .lossless, 65_536..<1 << 56),
      (
        Preamble(name: [97], dtype: .f32, shape: [1 << 30, 1 << 28], scheme: block), codes, .codes,
        262_144..<1 << 58
      ),
      (
        Preamble(name: [97], dtype: .bf16, shape: [1 << 59, 1], scheme: row), mebibyte, .scales, 0..<1 << 59
      ),
    ]
    for (preamble, chunk, kind, lost) in cases {
      let salvage = try salvaged(forged(preamble, chunk, kind: kind))
      #expect(salvage.tensors.map(\.lost) == [[lost]], "\(preamble.dtype) \(preamble.shape)")
      #expect(salvage.tensors.first?.shape == preamble.shape)
      #expect(salvage.reader.tensorCount == 0)
    }
  }

  @Test("Shapes beyond every limit, and frames that do not belong to their preambles, are no tensors")
  func refused() throws {
    let small = [UInt8](repeating: 1, count: 100)
    let rank1 = Scheme(map: .linear, bits: 8, signed: false, scaling: .rank1)
    for (dtype, shape, scheme) in [
      (DType.u8, [1 << 32, 1 << 32], nil), (.c128, [1 << 60], nil), (.u8, [.max, 2], nil), (.u8, [0, 100], nil),
      (.f6e2m3, [3], nil), (.f32, [.max, .max, 0], rank1), (.i32, [25], rank1), (.f32, [1 << 60], rank1),
    ] as [(DType, [UInt64], Scheme?)] {
      let preamble = Preamble(name: [97], dtype: dtype, shape: shape, scheme: scheme)
      let kind = scheme == nil ? ChunkKind.lossless : .codes
      #expect(try salvaged(forged(preamble, small, kind: kind)).tensors.isEmpty, "\(dtype) \(shape)")
    }
    let good = Preamble(name: [97], dtype: .u8, shape: [100], scheme: nil)
    #expect(try salvaged(forged(good, small, kind: .lossless)).tensors.map(\.isWhole) == [true])
    for index in [1, UInt32.max] {
      #expect(try salvaged(forged(good, small, kind: .lossless, index: index)).tensors.isEmpty)
    }
    for (chunk, kind) in [(small + [1], ChunkKind.lossless), (small, .codes), (small, .scales), ([], .lossless)] {
      #expect(try salvaged(forged(good, chunk, kind: kind)).tensors.map(\.lost) == [[0..<100]])
    }
  }

  @Test("Preambles of 64 KiB at every second place, which none of them is, and frames of 1 MiB: an end")
  func amplification() throws {
    let word = littleEndian(UInt64(0x0109_FFFF_0000_0000)) + [UInt8](repeating: 0, count: 8)
    let salvage = try salvaged(Self.header + (0..<131_072).flatMap { _ in word })
    #expect(salvage.tensors.isEmpty)
    let preamble = Preamble(name: [97], dtype: .u8, shape: [1 << 30], scheme: nil)
    let frame = ChunkFrame(storedLength: 1 << 20, compression: .none, kind: .lossless, tensor: 0, index: 0, hash: 0)
    let lead = Lead.bytes(after: 64, preamble: preamble, frame: frame)
    #expect(lead.count == 64)
    let leads = try salvaged(Self.header + (0..<65_536).flatMap { _ in lead })
    #expect(leads.tensors.allSatisfy { $0.lost == [0..<1 << 30] })
  }
}
