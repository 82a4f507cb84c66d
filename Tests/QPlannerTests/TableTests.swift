import QCodec
import TestSupport
import Testing

@testable import QPlanner

@Suite("Tables beside the named maps")
struct TableTests {
  @Test("Float types, each value once, over the greatest")
  func floats() throws {
    #expect(
      FloatTables.values(exponentBits: 2, mantissaBits: 1).filter { $0 >= 0 }
        == [0, 0.5, 1, 1.5, 2, 3, 4, 6].map { $0 / 6 })
    let e4m3 = FloatTables.values(exponentBits: 4, mantissaBits: 3, last: 7)
    #expect(e4m3.count == 253 && e4m3.last == 1)
    // 448 is the greatest, 2^-9 the least.
    #expect(e4m3[127] == Float(0x1p-9 / 448))
    let e5m2 = FloatTables.values(exponentBits: 5, mantissaBits: 2, last: 0)
    #expect(e5m2.count == 247 && e5m2[124] == Float(0x1p-16 / 57_344))
    // 28 and 7.5 are the greatest of both types of six bits, 2^-4 and 2^-3 the least.
    let e3m2 = FloatTables.values(exponentBits: 3, mantissaBits: 2)
    #expect(e3m2.count == 63 && e3m2[32] == Float(0x1p-4 / 28) && e3m2[61] == 24 / 28)
    let e2m3 = FloatTables.values(exponentBits: 2, mantissaBits: 3)
    #expect(e2m3.count == 63 && e2m3[32] == Float(0x1p-3 / 7.5) && e2m3[61] == 7 / 7.5)
    #expect(FloatTables.all.map(\.bits) == [8, 8, 6, 6, 4])
    #expect(FloatTables.all.map(\.distinctCount) == [253, 247, 63, 63, 15])
  }

  @Test("Tables have the least width that has room for them")
  func widths() throws {
    for (count, bits) in [(2, 2), (4, 2), (5, 3), (8, 3), (9, 4), (17, 5), (32, 5), (33, 6), (65, 8), (256, 8)] {
      let table = try #require(FloatTables.table((1...count).map { Float($0) / Float(count) }))
      #expect(table.bits == bits && table.entries.count == 1 << bits && table.distinctCount == count)
    }
    #expect(FloatTables.table((1...257).map { Float($0) / 257 }) == nil)
    #expect(FloatTables.table([0.5, 0.5, 1]) == nil)
    #expect(FloatTables.table([]) == nil)
  }

  /// Sums of uniform numbers, whose tails are cut at ±1, with a weight each.
  private static let samples: [(value: Float, weight: Double)] = {
    var numbers = SeededGenerator(seed: 3)
    return (0..<20_000).map { index in
      let sum = (0..<6).reduce(0.0) { total, _ in total + Double(numbers.next() % 2001) / 1000 - 1 }
      return (Float(max(-1, min(1, sum / 4))), index % 2 == 0 ? 1 : 3)
    }
  }()

  private static func error(_ table: MapTable) -> Double {
    samples.reduce(0) { total, sample in
      let nearest = table.entries.map { Double($0 - sample.value).magnitude }.min() ?? 0
      return total + sample.weight * nearest * nearest
    }
  }

  @Test("A fitted table has less error than any named one of its width", arguments: Scheme.widths)
  func fitted(bits: Int) throws {
    let own = try #require(FittedTables(Self.samples)?.lloydMax(bits: bits))
    #expect(own.entries.last == 1 && own.bits == bits && own.scaleRule == .signedExtreme)
    for map in [Scheme.Map.cubic, .linear, .linearNoZero, .normal, .dynamic] {
      guard let named = try? MapTable.named(map, bits: bits, signed: true) else { continue }
      #expect(Self.error(own) < Self.error(named), "\(map.name)")
    }
    let quantiles = try #require(FittedTables(Self.samples)?.quantiles(bits: bits))
    #expect(Self.error(own) < Self.error(quantiles))
  }

  @Test("Entries of a quantile table stand for as many samples each", arguments: [2, 3, 4, 5])
  func quantiles(bits: Int) throws {
    let table = try #require(FittedTables(Self.samples)?.quantiles(bits: bits))
    #expect(table.bits == bits && table.entries.last == 1 && table.distinctCount == 1 << bits)
    let count = 1 << bits - 1
    for (index, entry) in table.entries.prefix(count).enumerated() {
      let below = Double(Self.samples.filter { $0.value <= entry }.count) / Double(Self.samples.count)
      // The middle of the entry's share; samples are whole thousandths, several alike.
      #expect((below - (Double(index) + 0.5) / Double(count)).magnitude < 0.002, "entry \(index)")
    }
  }

  @Test("Too few samples give no table; samples that are alike no table of quantiles")
  func none() throws {
    #expect(FittedTables([]) == nil)
    #expect(FittedTables(Array(Self.samples.prefix(255))) == nil)
    let alike = try #require(FittedTables(Array(repeating: (value: 0.5, weight: 1), count: 1000)))
    #expect(alike.quantiles(bits: 4) == nil)
    // An entry lies where all samples do.
    #expect(alike.lloydMax(bits: 4)?.entries.contains(0.5) == true)
  }
}
