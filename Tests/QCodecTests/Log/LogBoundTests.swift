import Testing

@testable import QCodec

@Suite("The log map: bounds")
struct LogBoundTests {
  /// Blocks of 32 that a dtype holds exactly, over all of its magnitudes.
  private static func blocks(_ dtype: DType, seed: UInt64) -> [[Double]] {
    var generator = SeededGenerator(seed: seed)
    let top: UInt32 = dtype == .f32 ? 0x7F7F_FFFF : dtype == .bf16 ? 0x7F7F : 0x7BFF
    var result: [[UInt32]] = []
    for _ in 0..<120 {
      // From blocks of a few patterns to blocks of all.
      let width = UInt32.random(in: 0...UInt32(31 - top.leadingZeroBitCount), using: &generator)
      let base = UInt32.random(in: 0...top, using: &generator)
      let range = base...min(top, base + (1 << width))
      result.append((0..<32).map { _ in UInt32.random(in: range, using: &generator) })
    }
    result.append((0..<32).map { $0 * (top / 31) })
    result.append((0..<32).map { $0 + 1 })
    return result.map { block in block.map { Narrow.values(littleEndian($0, of: dtype), dtype: dtype)[0] } }
  }

  private static func littleEndian(_ pattern: UInt32, of dtype: DType) -> [UInt8] {
    dtype == .f32 ? QCodecTests.littleEndian(pattern) : QCodecTests.littleEndian(UInt16(pattern))
  }

  private static let unit: [DType: (relative: Double, absolute: Double)] = [
    .f32: (0, 0), .bf16: (0x1p-8, 0x1p-133), .f16: (0x1p-11, 0x1p-24),
  ]

  @Test(
    "Every element is within both bounds of its block, and none becomes zero but in float16's last place",
    arguments: [(8, nil), (8, 9), (4, nil), (4, 9)] as [(Int, UInt64?)], [DType.f32, .bf16, .f16])
  func hold(scheme: (bits: Int, seed: UInt64?), dtype: DType) throws {
    let seed: UInt64 = 46
    let unit = try #require(Self.unit[dtype])
    var (absolute, relative) = (0.0, 0.0)
    for block in Self.blocks(dtype, seed: seed) {
      let codec = try TensorCodec(dtype: dtype, shape: [32], scheme: logScheme(scheme.bits, seed: scheme.seed))
      let bytes = try Narrow.bytes(block.map { Float($0) }, dtype: dtype)
      let (stream, statistics) = try codec.encode(bytes: bytes)
      let decoded = Narrow.values(try codec.decode(bytes: stream), dtype: dtype)
      var worst = 0.0
      for (x, got) in zip(block, decoded) {
        let error = (x - got).magnitude
        worst = max(worst, error)
        #expect(error <= statistics.guaranteedMaxAbsError, "\(x) became \(got), seed \(seed)")
        #expect(error <= statistics.guaranteedMaxRelError * x, "\(x) became \(got), seed \(seed)")
        #expect((x > 0) == (got > 0), "\(x) became \(got), seed \(seed)")
      }
      #expect(statistics.maxAbsError == worst && statistics.maxScaledError == 0)
      #expect(statistics.zerosCreated == 0 && statistics.signChanges == 0)
      let bound = try Self.bound(block, scheme.bits, isStochastic: scheme.seed != nil, unit)
      #expect(statistics.guaranteedMaxAbsError == bound.absolute, "\(block), seed \(seed)")
      #expect(statistics.guaranteedMaxRelError == bound.relative, "\(block), seed \(seed)")
      absolute = max(absolute, worst / bound.absolute)
      if bound.relative > 0 {
        relative = max(
          relative, zip(block, decoded).map { $0 == 0 ? 0 : ($0 - $1).magnitude / $0 }.max()! / bound.relative)
      }
    }
    // Bounds that nothing comes near would say little.
    #expect(absolute > 0.5 && relative > 0.5, "\(absolute) and \(relative)")
  }

  /// The bounds of a block, from the formulas of the design and nothing else.
  private static func bound(
    _ values: [Double], _ bits: Int, isStochastic: Bool, _ unit: (relative: Double, absolute: Double)
  ) throws -> (absolute: Double, relative: Double) {
    let block = LogReference(values.map { Float($0) }, bits: bits)
    guard block.high > 0 else { return (0, 0) }
    let step = Double(block.span) / Double(block.steps)
    let e = Int(min(Double(block.span), (isStochastic ? step + 1 : step / 2 + 0.5) + 0x1p-16))
    func g(_ pattern: Int) -> Double { Double(Float(bitPattern: UInt32(pattern))) }
    let top = Int(block.high.bitPattern)
    let from = min(block.base, 0x0080_0000)
    let ratio = (g(from + e) - g(from)) / g(from)
    return (
      (g(top) - g(top - e) + unit.relative * g(top) + unit.absolute) * (1 + 0x1p-40),
      (ratio + unit.relative * (1 + ratio) + unit.absolute / g(block.base)) * (1 + 0x1p-40)
    )
  }

  @Test(
    "Bounds are nearly reached: by the middle between the first two values, and between the last two",
    arguments: Scheme.widths)
  func reached(bits: Int) throws {
    // Where a step is small beside the least value; else an element that moves stands well above it.
    let blocks: [(Float, Float)] = bits == 8 ? [(1, 1024), (0x1p-100, 0x1p100), (0x1p-126, 0x1p-100)] : [(1, 1024)]
    for (low, high) in blocks {
      let block = LogReference(low: low, high: high, bits: bits)
      var values = [low, high]
      for k in [0, block.steps - 1] {
        let middle = (block.pattern(k) + block.pattern(k + 1)) / 2
        values += (-1...1).map { Float(bitPattern: UInt32(middle + $0)) }
      }
      let codec = try TensorCodec(dtype: .f32, shape: [UInt64(values.count)], scheme: logScheme(bits))
      let (stream, statistics) = try codec.encode(values)
      let decoded = try codec.decode(stream)
      let errors = zip(values, decoded).map { (Double($0) - Double($1)).magnitude }
      let relative = zip(values, errors).map { $1 / Double($0) }.max() ?? 0
      #expect((errors.max() ?? 0) > 0.45 * statistics.guaranteedMaxAbsError, "\(low) to \(high)")
      #expect(relative > 0.45 * statistics.guaranteedMaxRelError, "\(low) to \(high)")
      #expect(relative <= statistics.guaranteedMaxRelError)
    }
  }
}
