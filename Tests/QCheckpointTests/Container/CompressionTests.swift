import QCodec
import Testing

@testable import QCheckpoint

@Suite("The lossless stage")
struct CompressionTests {
  /// Byte p of element i, of every plane in turn: the definition.
  private func planes(_ bytes: [UInt8], _ size: Int) -> [UInt8] {
    (0..<size).flatMap { plane in stride(from: plane, to: bytes.count, by: size).map { bytes[$0] } }
  }

  @Test("Byte planes of every element size and count, by every kernel", arguments: [1, 2, 4, 8, 16])
  func transposition(size: Int) {
    for level in KernelLevel.allCases where level.isSupported {
      for count in Array(0...140) + [1000] {
        // From addresses that nothing is aligned to.
        let bytes = (0...count * size).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 >> 8) }
        var (split, joined) = (bytes.map { ~$0 }, bytes.map { ~$0 })
        unsafe bytes.withUnsafeBytes { source in
          unsafe split.withUnsafeMutableBytes { split in
            unsafe BytePlanes.split(
              .init(rebasing: source[1...]), planes: size, into: .init(rebasing: split[1...]), kernels: level)
          }
        }
        #expect(Array(split[1...]) == planes(Array(bytes[1...]), size), "\(level.name), \(count) elements")
        unsafe split.withUnsafeBytes { source in
          unsafe joined.withUnsafeMutableBytes { joined in
            unsafe BytePlanes.join(
              .init(rebasing: source[1...]), planes: size, into: .init(rebasing: joined[1...]), kernels: level)
          }
        }
        #expect(joined[1...] == bytes[1...], "\(level.name), \(count) elements")
      }
    }
  }

  @Test("Compressed lossless chunks hold planes, plain ones the bytes", arguments: DType.allCases)
  func stored(dtype: DType) throws {
    let size = dtype.planeCount
    let even = (0..<960).flatMap { index in (0..<size).map { UInt8(truncatingIfNeeded: index / 240 &+ $0 &* 16) } }
    let count = UInt64(even.count * 8 / dtype.bitWidth)
    for compression in Compression.allCases {
      for bytes in [even, noise(even.count, seed: 41)] {
        let file = try checkpoint(.init(compression: compression, threads: 1)) {
          try $0.add(
            name: "t", dtype: dtype, shape: [count], encoding: .lossless(reason: .none),
            source: MemorySource(bytes: bytes))
        }
        let chunk = try opened(file).chunk(0)
        let content = Array(file[Int(chunk.offset)..<Int(chunk.offset) + chunk.storedLength])
        #expect(chunk.compression == (bytes == even ? compression : .none))
        let raw = try chunk.compression.decompressed(content, count: chunk.rawLength)
        #expect(raw == (chunk.compression == .none ? bytes : planes(bytes, size)))
      }
    }
  }

  @Test("Stored plain where the gain is under 1/64", arguments: [Compression.lz4, .zstd])
  func threshold(compression: Compression) throws {
    // Noise with ever more zeros at its end: the stage takes over where it gains enough.
    var seen: Set<Bool> = []
    for zeros in stride(from: 0, through: 200, by: 4) {
      let bytes = noise(6400 - zeros, seed: 42) + [UInt8](repeating: 0, count: zeros)
      let file = try checkpoint(.init(compression: compression, threads: 1)) { try $0.add("t", bytes: bytes) }
      let chunk = try opened(file).chunk(0)
      let isPlain = chunk.compression == .none
      seen.insert(isPlain)
      // Fewer than 100 zeros cannot gain a 64th; LZ4 spends some 35 bytes on the noise's length and the match.
      if zeros < 100 { #expect(isPlain, "\(zeros) zeros") }
      if zeros >= 160 { #expect(!isPlain, "\(zeros) zeros") }
      #expect(isPlain ? chunk.storedLength == 6400 : 6400 - chunk.storedLength >= 100)
    }
    #expect(seen == [true, false])
    for (stored, raw) in [(0, 1), (63, 64), (6300, 6400), (98, 100), (1_032_192, 1 << 20)] {
      #expect(Compression.isWorthwhile(stored: stored, raw: raw))
    }
    for (stored, raw) in [
      (0, 0), (1, 1), (64, 64), (6301, 6400), (6400, 6400), (6500, 6400), (99, 100), (1_032_193, 1 << 20),
    ] {
      #expect(!Compression.isWorthwhile(stored: stored, raw: raw))
    }
  }

  @Test("Codes go through the stage as they are, scale vectors through none", arguments: [Compression.lz4, .zstd])
  func codes(compression: Compression) throws {
    let values = [Float](repeating: 0.5, count: 64 * 64)
    let file = try checkpoint(.init(compression: compression, threads: 1)) {
      try $0.add("t", values, shape: [64, 64], Scheme(map: .linear, bits: 8, signed: true, scaling: .row))
    }
    let reader = try opened(file)
    #expect(reader.chunk(0).compression == .none && reader.chunk(1).compression == compression)
    #expect(try reader.payload(ofChunk: 0) == littleEndian(floats: [Float](repeating: 0.5, count: 64)))
    #expect(try reader.payload(ofChunk: 1) == [UInt8](repeating: 254, count: 4096))
    #expect(try reader.bytes(ofTensor: 0) == littleEndian(floats: values))
  }
}
