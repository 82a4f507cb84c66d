import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

@Suite("Code histograms")
struct CodeHistogramTests {
  private func histogram(_ sample: Sample) throws -> CodeHistogram {
    try CodeHistogram(CheckpointReader(source: MemorySource(bytes: checkpoint([sample]))), tensor: 0)
  }

  @Test("Counts of every code, under block scaling and with a scale vector, an odd end included")
  func counts() throws {
    for scaling in [Scheme.Scaling.block(32), .tensor] {
      for bits in Scheme.widths {
        let scheme = Scheme(map: .linear, bits: bits, signed: false, scaling: scaling)
        let table = try #require(try scheme.resolvedTable())
        // Entry c stands c mod 5 + 1 times; +1 begins every block, so that each is its own quotient.
        var wanted = [UInt64](repeating: 0, count: 1 << bits)
        var values: [Float] = []
        for (code, entry) in table.entries.enumerated() {
          for _ in 0...code % 5 {
            if values.count % 32 == 0 {
              values.append(1)
              wanted[table.entries.count - 1] += 1
            }
            values.append(entry)
            wanted[code] += 1
          }
        }
        while values.count % 32 == 0 || values.count % 2 == 0 {
          values.append(1)
          wanted[table.entries.count - 1] += 1
        }
        #expect(try histogram(Sample("v", values, scheme: scheme)).counts == wanted)
      }
    }
  }

  @Test("Counts over chunks")
  func chunks() throws {
    let count = TensorLayout.chunkElements + 1
    var values = [Float](repeating: 1, count: count)
    values[count - 1] = 0
    let scheme = Scheme(map: .linear, bits: 4, signed: false, scaling: .tensor)
    let counts = try histogram(Sample("v", values, scheme: scheme)).counts
    #expect(counts[15] == UInt64(count - 1) && counts[0] == 1 && counts.reduce(0, +) == UInt64(count))
  }

  @Test("Entropy: 0 of one code, 4 of sixteen alike, 1.5 of a half and two quarters")
  func entropy() throws {
    let scheme = Scheme(map: .linear, bits: 4, signed: false, scaling: .tensor)
    let table = try #require(try scheme.resolvedTable())
    #expect(try histogram(Sample("v", [1, 1, 1], scheme: scheme)).entropy == 0)
    #expect(try histogram(Sample("v", table.entries, scheme: scheme)).entropy == 4)
    #expect(try histogram(Sample("v", [1, 0, 1, table.entries[3]], scheme: scheme)).entropy == 1.5)
    #expect(try histogram(Sample("v", [], scheme: scheme)).entropy == 0)
    #expect(try histogram(Sample("v", [], scheme: scheme)).counts == [UInt64](repeating: 0, count: 16))
  }

  @Test("A lossless tensor has no codes")
  func lossless() {
    let error = failure { _ = try histogram(Sample("step", dtype: .f32, shape: [1], bytes: [0, 0, 0, 0])) }
    #expect(error?.code == .invalidArgument && error?.tensor == "step")
  }
}
