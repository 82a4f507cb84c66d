import Testing

@testable import QCodec

@Suite("The log map: stochastic rounding")
struct LogStochasticTests {
  @Test("Each element takes the code of the definition; exact values keep the nearest", arguments: Scheme.widths)
  func definition(bits: Int) throws {
    let seed: UInt64 = 47
    var generator = SeededGenerator(seed: seed)
    var values = extremeBlocks.flatMap(\.values)
    for _ in 0..<3200 { values.append(Float(bitPattern: UInt32.random(in: 0...0x7F7F_FFFF, using: &generator))) }
    values += moments(count: 3200, signed: false, seed: seed)
    let codec = try TensorCodec(dtype: .f32, shape: [UInt64(values.count)], scheme: logScheme(bits, seed: 77))
    let stream = try codec.encode(values, name: "v").stream
    let counter = StochasticCounter(seed: 77, tensor: "v")
    var (codes, moved): ([UInt8], Int) = ([], 0)
    for start in stride(from: 0, to: values.count, by: 32) {
      let block = LogReference(Array(values[start..<start + 32]), bits: bits)
      for index in start..<start + 32 {
        let code = Self.code(values[index], block, number: counter.number(at: UInt64(index)))
        if code != block.code(values[index]) { moved += 1 }
        codes.append(code)
      }
    }
    let packed = packedCodes(codes, bits: bits)
    #expect(Array(stream.suffix(packed.count)) == packed, "seed \(seed)")
    #expect(moved > values.count / 8)
  }

  private static func code(_ x: Float, _ block: LogReference, number: UInt32) -> UInt8 {
    let (nearest, own) = (block.code(x), Int(x.bitPattern))
    if x == 0 || block.value(nearest) == x { return nearest }
    let first = block.hasZeros ? 1 : 0
    // The largest k whose pattern does not exceed that of x.
    let k = (0...block.steps).last { block.pattern($0) <= own } ?? 0
    let place = Double(own - block.pattern(k)) / Double(block.pattern(k + 1) - block.pattern(k))
    return UInt8((Double(number) * 0x1p-24 < place ? k + 1 : k) + first)
  }

  @Test("The chance of the upper value is the pattern's place between the two", arguments: [0.1, 0.5, 0.93])
  func chance(place: Double) throws {
    let count = 65_536
    var values = [Float](repeating: 1, count: count)
    values[1] = 256
    let block = LogReference(values, bits: 8)
    let (low, high) = (block.pattern(100), block.pattern(101))
    let own = low + Int(place * Double(high - low))
    for index in 2..<count { values[index] = Float(bitPattern: UInt32(own)) }
    let codec = try TensorCodec(dtype: .f32, shape: [UInt64(count)], scheme: logScheme(8, block: count, seed: 5))
    let codes = try codec.encode(values, name: "x").stream.suffix(count)
    let others = codes.dropFirst(2)
    #expect(Set(others) == [100, 101])
    let share = Double(others.count { $0 == 101 }) / Double(others.count)
    let wanted = Double(own - low) / Double(high - low)
    // Five standard deviations of a share of 65,534.
    #expect((share - wanted).magnitude < 5 * (wanted * (1 - wanted) / 65_534).squareRoot())
  }

  @Test("Exact values never move, whatever the seed", arguments: Scheme.widths)
  func exact(bits: Int) throws {
    let scheme = logScheme(bits, block: 512)
    for (name, values) in extremeBlocks {
      let reference = LogReference(values, bits: bits)
      let exact = (0..<(1 << bits)).map { reference.value(UInt8($0)) } + [reference.low.magnitude, reference.high]
      let codec = try TensorCodec(dtype: .f32, shape: [UInt64(exact.count)], scheme: scheme)
      let nearest = try codec.encode(exact).stream
      for seed in 0..<4 as Range<UInt64> {
        let other = try TensorCodec(
          dtype: .f32, shape: [UInt64(exact.count)], scheme: logScheme(bits, block: 512, seed: seed))
        let stream = try other.encode(exact, name: "t\(seed)").stream
        #expect(stream == nearest, "\(name), seed \(seed)")
      }
    }
  }

  @Test("Seed and name decide, the number of threads does not")
  func determinism() throws {
    let values = moments(count: 300_000, signed: false, seed: 48)
    func stream(_ seed: UInt64, _ name: String, _ threads: Int) throws -> [UInt8] {
      try TensorCodec(dtype: .f32, shape: [300_000], scheme: logScheme(4, block: 256, seed: seed))
        .encode(values, name: name, threads: threads).stream
    }
    let one = try stream(1, "v", 1)
    for threads in [1, 2, 7] { #expect(try stream(1, "v", threads) == one) }
    #expect(try stream(2, "v", 2) != one)
    #expect(try stream(1, "w", 2) != one)
  }
}
