import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

@Suite("Profiles of tensors")
struct TensorProfileTests {
  private func profile(_ sample: Sample, threads: Int = 1) throws -> TensorProfile {
    try TensorProfile(CheckpointReader(source: MemorySource(bytes: checkpoint([sample]))), tensor: 0, threads: threads)
  }

  private static let extremes: [Float] = [
    .leastNonzeroMagnitude, .leastNormalMagnitude.nextDown, .leastNormalMagnitude, 0.5, 1, Float(1).nextDown, 1.5, 2,
    .greatestFiniteMagnitude, 0,
  ]

  @Test("Scales of blocks by the exponents of their magnitudes, of either sign, subnormal and huge ones")
  func blocks() throws {
    let scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32))
    for sign in [Float(1), -1] {
      let values = Self.extremes.flatMap { [Float](repeating: $0 * sign, count: 32) }
      let scales = try profile(Sample("m", values, scheme: scheme)).scales
      #expect(scales.counts == [-149: 1, -127: 1, -126: 1, -1: 2, 0: 2, 1: 1, 127: 1])
      #expect(scales.zeros == 1 && scales.nonFinite == 0 && scales.total == 10)
    }
  }

  @Test("Blocks of the log map count for their greatest values, scale vectors for their entries")
  func others() throws {
    let log = Scheme(map: .log, bits: 8, signed: false, scaling: .block(32))
    let blocks = Self.extremes.flatMap { [Float](repeating: $0 / 4, count: 31) + [$0] }
    let scales = try profile(Sample("v", blocks, scheme: log)).scales
    #expect(scales.counts == [-149: 1, -127: 1, -126: 1, -1: 2, 0: 2, 1: 1, 127: 1] && scales.zeros == 1)
    let row = Scheme(map: .linear, bits: 8, signed: true, scaling: .row)
    let rows = [Float](repeating: 3, count: 64) + [Float](repeating: 0.25, count: 64)
    #expect(try profile(Sample("m", shape: [2, 64], rows, scheme: row)).scales.counts == [1: 1, -2: 1])
    let tensor = Scheme(map: .linear, bits: 4, signed: true, scaling: .tensor)
    #expect(try profile(Sample("m", rows, scheme: tensor)).scales.counts == [1: 1])
  }

  @Test("Chunks on several threads count as on one, and profiles add up")
  func threads() throws {
    let count = 3 * TensorLayout.chunkElements + 77
    let values = heavyTailed(count: count, signed: true, dtype: .f32, seed: 91)
    let sample = Sample("m", values, scheme: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
    var one = try profile(sample)
    let several = try profile(sample, threads: 3)
    #expect(one.codes.counts == several.codes.counts && one.scales == several.scales)
    #expect(one.codes.total == UInt64(count) && one.scales.total == UInt64((count + 255) / 256))
    one.append(several)
    #expect(one.codes.counts == several.codes.counts.map { 2 * $0 } && one.scales.total == 2 * several.scales.total)
  }
}
