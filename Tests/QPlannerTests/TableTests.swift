import QCodec
import TestSupport
import Testing

@testable import QPlanner

@Suite("Tables beside the named maps")
struct TableTests {
  @Test("Float types, each value once, over the greatest")
  func floats() throws {
    #expect(
      FittedTables.floats(exponentBits: 2, mantissaBits: 1).filter { $0 >= 0 }
        == [0, 0.5, 1, 1.5, 2, 3, 4, 6].map { $0 / 6 })
    let e4m3 = FittedTables.floats(exponentBits: 4, mantissaBits: 3, last: 7)
    #expect(e4m3.count == 253 && e4m3.last == 1)
    // 448 is the greatest, 2^-9 the least.
    #expect(e4m3[127] == Float(0x1p-9 / 448))
    let e5m2 = FittedTables.floats(exponentBits: 5, mantissaBits: 2, last: 0)
    #expect(e5m2.count == 247 && e5m2[124] == Float(0x1p-16 / 57_344))
    #expect(FittedTables.floatTables.map(\.bits) == [8, 8, 4])
  }

  @Test("A fitted table has less error than any named one of its width")
  func fitted() throws {
    var numbers = SeededGenerator(seed: 3)
    // A sum of uniform numbers, whose tails are cut at ±1.
    let samples = (0..<20_000).map { _ -> (value: Float, weight: Double) in
      let sum = (0..<6).reduce(0.0) { total, _ in total + Double(numbers.next() % 2001) / 1000 - 1 }
      return (Float(max(-1, min(1, sum / 4))), 1)
    }
    let own = try #require(FittedTables.lloydMax(samples))
    #expect(own.entries.last == 1 && own.bits == 4 && own.scaleRule == .signedExtreme)
    func error(_ entries: [Float]) -> Double {
      samples.reduce(0) { total, sample in
        let nearest = entries.map { Double($0 - sample.value).magnitude }.min() ?? 0
        return total + nearest * nearest
      }
    }
    for map in [Scheme.Map.cubic, .linear, .normal, .dynamic] {
      let layout = try TensorLayout(
        dtype: .f32, shape: [64], scheme: Scheme(map: map, bits: 4, signed: true, scaling: .block(64)))
      #expect(error(own.entries) < error(layout.table?.entries ?? []), "\(map.name)")
    }
  }

  @Test("Too few samples, or all alike, give no table")
  func none() {
    #expect(FittedTables.lloydMax([]) == nil)
    #expect(FittedTables.lloydMax(Array(repeating: (value: 0.5, weight: 1), count: 1000)) == nil)
  }
}
