import Testing

@testable import QCodec

@Suite("Steps of the log map")
struct LogStepTests {
  private static func chunk(
    _ values: [Float], octaves: Double, bits: Int = 8, dtype: DType = .f32, block: Int = 64
  ) throws -> StepChunk {
    let scheme = logScheme(bits, block: block)
    let held = Narrow.values(try Narrow.bytes(values, dtype: dtype), dtype: dtype).map(Float.init)
    let least = held.filter { $0 > 0 }.min() ?? .infinity
    let step = EncodingStep(octaves: octaves, least: least, scheme: scheme, dtype: dtype)
    return try StepChunk(values, scheme, step: step, dtype: dtype)
  }

  @Test(
    "Every block has the tensor's grid, and every pattern moves by half a step at most", arguments: [0.05, 0.62, 1])
  func grid(octaves: Double) throws {
    let values = moments(count: 4096, signed: false, seed: 83)
    let chunk = try Self.chunk(values, octaves: octaves)
    let result = try chunk.encode()
    let step = Int((octaves * 0x1p23).rounded(.toNearestOrEven))
    let used = min(step, Int((0x7F7F_FFFF - 0x0080_0000) / 255))
    let least = Int(try #require(values.filter { $0 > 0 }.min()).bitPattern)
    let ends = chunk.floats(result)
    var onGrid = 0
    for block in 0..<ends.count / 2 {
      let (low, high) = (ends[2 * block], ends[2 * block + 1])
      let own = values[block * 64..<(block + 1) * 64]
      guard own.contains(where: { $0 > 0 }) else {
        #expect(low.bitPattern == 0x8000_0000 && high == 0)
        continue
      }
      let base = Int(low.magnitude.bitPattern)
      guard Int(high.bitPattern) - base == 254 * used else {
        // The block does not fit: its own ends.
        #expect(low.magnitude == own.filter { $0 > 0 }.min() && high == own.max())
        continue
      }
      onGrid += 1
      #expect(low.sign == .minus && (base - least).isMultiple(of: used))
    }
    #expect(onGrid > 50 || octaves < 0.1)
    for (value, decoded) in zip(values, try chunk.decode(result)) {
      #expect((value == 0) == (decoded == 0))
      let moved = (Int(value.bitPattern) - Int(decoded.bitPattern)).magnitude
      // Blocks of 64 that do not fit span 40 octaves at most.
      if octaves > 0.5 { #expect(moved <= UInt(used / 2 + 1)) }
    }
    #expect(result.statistics.zerosCreated == 0)
  }

  @Test(
    "Ends are finite in the dtype, positive stays positive, guarantees hold", arguments: [DType.f32, .bf16, .f16],
    [8, 4])
  func dtypes(dtype: DType, bits: Int) throws {
    for octaves in [0.01, 0.3, 1, 8] {
      let values = moments(count: 2048, signed: false, seed: 84).map { dtype == .f16 && $0 > 0 ? max($0, 0x1p-24) : $0 }
      let chunk = try Self.chunk(values, octaves: octaves, bits: bits, dtype: dtype)
      let result = try chunk.encode()
      let source = Narrow.values(chunk.bytes, dtype: dtype)
      for (value, decoded) in zip(source, try chunk.decode(result)) {
        #expect((value == 0) == (decoded == 0) && decoded.isFinite)
        #expect((value - Double(decoded)).magnitude <= result.statistics.guaranteedMaxAbsError)
        if value > 0 { #expect((value - Double(decoded)).magnitude <= result.statistics.guaranteedMaxRelError * value) }
      }
    }
  }

  @Test("The absolute guarantee is that of the greatest element, not of an end far above it")
  func guarantee() throws {
    let values = (0..<512).map { Float(sign: .plus, exponent: -40 + $0 % 30, significand: 1.3) }
    let chunk = try Self.chunk(values, octaves: 0.5)
    let result = try chunk.encode()
    #expect(chunk.floats(result)[1] > 1e10)
    #expect(result.statistics.guaranteedMaxAbsError < 1e-3)
    #expect(result.statistics.guaranteedMaxAbsError >= result.statistics.maxAbsError)
    #expect(result.statistics.guaranteedMaxRelError < 0.27)
  }

  @Test("Encoding what was decoded changes nothing", arguments: [0.02, 0.62])
  func again(octaves: Double) throws {
    let first = try Self.chunk(moments(count: 4096, signed: false, seed: 85), octaves: octaves)
    let result = try first.encode()
    let second = try Self.chunk(try first.decode(result), octaves: octaves)
    // Codes may be others: blocks count from where their means, which decoding moves, have the middle code.
    #expect(try second.decode(try second.encode()) == first.decode(result))
  }

  @Test("A tensor of zeros has no step")
  func zeros() throws {
    let chunk = try Self.chunk([Float](repeating: 0, count: 100), octaves: 0.5)
    #expect(chunk.step == .none)
    #expect(chunk.floats(try chunk.encode()).map(\.bitPattern) == [0x8000_0000, 0, 0x8000_0000, 0])
  }
}
