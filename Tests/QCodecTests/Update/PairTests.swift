import Testing

@testable import QCodec

@Suite("Both moments of a chunk in one call: as one after the other")
struct PairTests {
  static let levels = KernelLevel.allCases.filter(\.isSupported)

  /// The presets' pairs, blocks of every relation, and pairs that are encoded one after the other.
  static let pairs: [(first: Scheme, second: Scheme)] =
    adamSchemes + [
      (updateScheme(.cubic, 8, .block(512)), logScheme(8, block: 32)),
      (updateScheme(.dynamic, 8, .block(32)), logScheme(4, block: 4096)),
      (updateScheme(.linear, 8, .block(128)), logScheme(8, block: 128)),
      (updateScheme(.normal, 4, .block(64)), logScheme(8, block: 256)),
      (updateScheme(.cubic, 4, .block(256), scaleRule: .absmax), logScheme(4, block: 64)),
      (updateScheme(.cubic, 3, .block(32)), logScheme(5, block: 512)),
      (updateScheme(.linear, 5, .block(4096)), logScheme(2, block: 64)),
      (updateScheme(.cubic, 2, .block(256)), logScheme(8, block: 32)),
      (updateScheme(.dynamic, 4, .block(64)), logScheme(3, block: 128)),
      (updateScheme(.linearNoZero, 8, .block(64)), logScheme(8, block: 64)),
      (updateScheme(.linearNoZero, 6, .block(64)), logScheme(6, block: 64)),
      (updateScheme(.cubic, 8, .row), logScheme(8, block: 64)),
      (updateScheme(.cubic, 8, .block(64)), Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(64))),
      (updateScheme(.cubic, 8, .block(64), rounding: .stochastic, seed: 3), logScheme(8, block: 64)),
    ]

  /// What encoding and decoding chunk 0 of both moments gives.
  private struct Result: Equatable {
    var payloads: [[UInt8]] = []
    var outcome = PairEncoder.Outcome()
    var values: [[UInt8]] = []
  }

  /// Moments of a chunk, their layouts and the level; pointers lie `offset` bytes off.
  private struct Case {
    let layouts: [TensorLayout]
    let sources: [[UInt8]]
    let level: KernelLevel
    var offset = 0

    func scales() throws -> [Float] {
      guard ScalePass.isNeeded(for: layouts[0]) else { return [] }
      let second = try ChunkEncoder(layout: layouts[1], name: "v", scales: [], kernels: level)
      let payload = try Self.encode(second, sources[1])
      let divisors = try unsafe payload.0.withUnsafeBytes {
        try unsafe ChunkDecoder(layout: layouts[1], scales: []).divisors(chunk: 0, payload: $0)
      }
      let pass = ScalePass(layout: layouts[0])
      try unsafe sources[0].withUnsafeBytes { try unsafe pass.accumulate(chunk: 0, source: $0, divisors: divisors) }
      return pass.finish()
    }

    private static func encode(
      _ encoder: ChunkEncoder, _ source: [UInt8], divisors: [Float] = []
    ) throws -> ([UInt8], TensorStatistics) {
      var payload = [UInt8](repeating: 0xAA, count: encoder.layout.payloadByteCount(ofChunk: 0))
      let statistics = try unsafe source.withUnsafeBytes { source in
        try unsafe payload.withUnsafeMutableBytes {
          try unsafe encoder.encode(chunk: 0, source: source, divisors: divisors, into: $0)
        }
      }
      return (payload, statistics)
    }

    /// One after the other, by the reference.
    func separate(part: Range<Int>) throws -> Result {
      let scales = try scales()
      let second = try Self.encode(
        ChunkEncoder(layout: layouts[1], name: "v", scales: [], kernels: .scalar), sources[1])
      let decoder = try ChunkDecoder(layout: layouts[1], scales: [], kernels: .scalar)
      let divisors = try unsafe second.0.withUnsafeBytes { try unsafe decoder.divisors(chunk: 0, payload: $0) }
      let first = try Self.encode(
        ChunkEncoder(layout: layouts[0], name: "m", scales: scales, kernels: .scalar), sources[0], divisors: divisors)
      let own = try ChunkDecoder(layout: layouts[0], scales: scales, kernels: .scalar)
      return Result(
        payloads: [first.0, second.0], outcome: .init(first: first.1, second: second.1),
        values: [
          try Self.decode(own, first.0, part, Array(divisors[part])), try Self.decode(decoder, second.0, part, []),
        ])
    }

    private static func decode(
      _ decoder: ChunkDecoder, _ payload: [UInt8], _ part: Range<Int>, _ divisors: [Float]
    ) throws -> [UInt8] {
      var values = [UInt8](repeating: 0xEE, count: part.count * decoder.layout.elementSize)
      try unsafe payload.withUnsafeBytes { payload in
        try unsafe values.withUnsafeMutableBytes {
          try unsafe decoder.decode(chunk: 0, payload: payload, elements: part, divisors: divisors, into: $0)
        }
      }
      return values
    }

    func together(part: Range<Int>, measures: Bool = true, epsilon: Double? = nil) throws -> Result {
      let scales = try scales()
      let encoder = try PairEncoder(
        first: ChunkEncoder(layout: layouts[0], name: "m", scales: scales, kernels: level),
        second: ChunkEncoder(layout: layouts[1], name: "v", scales: [], kernels: level))
      let decoder = try PairDecoder(
        first: ChunkDecoder(layout: layouts[0], scales: scales, kernels: level),
        second: ChunkDecoder(layout: layouts[1], scales: [], kernels: level), names: ("m", "v"))
      let sources = sources.map { [UInt8](repeating: 0, count: offset) + $0 }
      var payloads = layouts.map { [UInt8](repeating: 0xAA, count: $0.payloadByteCount(ofChunk: 0) + offset) }
      var values = layouts.map { [UInt8](repeating: 0xEE, count: part.count * $0.elementSize + offset) }
      var alone = values[0]
      let outcome = try unsafe Self.withBytes(&payloads) { first, second in
        let targets = unsafe (Self.rest(first, offset), Self.rest(second, offset))
        return try unsafe sources[0].withUnsafeBytes { m in
          try unsafe sources[1].withUnsafeBytes { v in
            try unsafe encoder.encode(
              chunk: 0, first: .init(rebasing: m[offset...]), second: .init(rebasing: v[offset...]), into: targets.0,
              targets.1, measures: measures, epsilon: epsilon)
          }
        }
      }
      try unsafe payloads[0].withUnsafeBytes { m in
        try unsafe payloads[1].withUnsafeBytes { v in
          let (m, v) = unsafe (
            UnsafeRawBufferPointer(rebasing: m[offset...]), UnsafeRawBufferPointer(rebasing: v[offset...])
          )
          try unsafe Self.withBytes(&values) { first, second in
            try unsafe decoder.decode(
              chunk: 0, first: m, second: v, elements: part, into: Self.rest(first, offset),
              Self.rest(second, offset))
          }
          try unsafe alone.withUnsafeMutableBytes {
            try unsafe decoder.decode(
              chunk: 0, first: m, second: v, elements: part, into: Self.rest($0, offset), nil)
          }
        }
      }
      #expect(alone == values[0])
      return Result(
        payloads: payloads.map { Array($0[offset...]) }, outcome: outcome, values: values.map { Array($0[offset...]) })
    }

    private static func rest(_ bytes: UnsafeMutableRawBufferPointer, _ offset: Int) -> UnsafeMutableRawBufferPointer {
      unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[offset...])
    }

    private static func withBytes<Value>(
      _ arrays: inout [[UInt8]],
      _ body: (UnsafeMutableRawBufferPointer, UnsafeMutableRawBufferPointer) throws -> Value
    ) throws -> Value {
      var (first, second) = (arrays[0], arrays[1])
      defer { arrays = [first, second] }
      return try unsafe first.withUnsafeMutableBytes { first in
        try unsafe second.withUnsafeMutableBytes { try unsafe body(first, $0) }
      }
    }
  }

  private static func makeCase(
    _ pair: (first: Scheme, second: Scheme), dtypes: (DType, DType) = (.f32, .f32), shape: [UInt64], seed: UInt64,
    level: KernelLevel, offset: Int = 0, change: (inout [Float], inout [Float]) -> Void = { _, _ in }
  ) throws -> Case {
    let layouts = [
      try TensorLayout(dtype: dtypes.0, shape: shape, scheme: pair.first),
      try TensorLayout(dtype: dtypes.1, shape: shape, scheme: pair.second),
    ]
    var (m, v) = adamMoments(Int(layouts[0].elementCount), seed: seed, exponents: seed % 3 == 0 ? -70 ... -50 : -12...4)
    change(&m, &v)
    return Case(
      layouts: layouts,
      sources: [
        KernelEquivalenceTests.bytes(m, dtype: dtypes.0), KernelEquivalenceTests.bytes(v, dtype: dtypes.1),
      ], level: level, offset: offset)
  }

  private func check(_ own: Case, part: Range<Int>, _ place: Comment) throws {
    let expected = try own.separate(part: part)
    let got = try own.together(part: part)
    #expect(got == expected, place)
    let unmeasured = try own.together(part: part, measures: false)
    #expect(unmeasured.payloads == expected.payloads && unmeasured.outcome == PairEncoder.Outcome(), place)
  }

  @Test("Payloads, statistics and values", arguments: levels)
  func equal(level: KernelLevel) throws {
    for (index, pair) in Self.pairs.enumerated() {
      for dtypes in [(DType.f32, DType.f32), (.bf16, .f32), (.f32, .bf16), (.f16, .f16)] {
        for (seed, shape) in [(UInt64(5), [67, 77] as [UInt64]), (6, [16, 512])] {
          let own = try Self.makeCase(pair, dtypes: dtypes, shape: shape, seed: seed, level: level, offset: index % 4)
          let count = Int(own.layouts[0].elementCount)
          try check(own, part: 0..<count, "\(pair) \(dtypes) \(shape)")
          try check(own, part: count / 3..<count - count / 5, "\(pair) \(dtypes) \(shape)")
        }
      }
    }
  }

  @Test("Every tail", arguments: levels)
  func tails(level: KernelLevel) throws {
    for count in 1...130 as ClosedRange<UInt64> {
      for pair in adamSchemes + [(updateScheme(.linear, 8, .block(32)), logScheme(8, block: 64))] {
        let own = try Self.makeCase(pair, shape: [count], seed: count, level: level)
        try check(own, part: Int(count) / 2..<Int(count), "\(pair) \(count)")
      }
    }
  }

  @Test("The error of the update", arguments: levels)
  func updateError(level: KernelLevel) throws {
    for pair in Self.pairs {
      for dtypes in [(DType.f32, DType.f32), (.bf16, .f16)] {
        for epsilon in [0, 1e-8, 1] {
          for shape in [[5000], [31], [7]] as [[UInt64]] where pair.first.scaling != .row {
            let own = try Self.makeCase(pair, dtypes: dtypes, shape: shape, seed: 7, level: level)
            let part = 0..<Int(shape[0])
            let result = try own.together(part: part, epsilon: epsilon)
            let values = own.sources.enumerated().map { index, bytes in floats(bytes, own.layouts[index].dtype) }
            let decoded = result.values.enumerated().map { index, bytes in floats(bytes, own.layouts[index].dtype) }
            let expected = UpdateError(epsilon: epsilon, count: part.count) { index in
              (
                Double(values[0][index]), Double(values[1][index]), Double(decoded[0][index]), Double(decoded[1][index])
              )
            }
            // As text, which is exact and in which NaN, of 0 over 0 and infinities, equals itself.
            #expect("\(result.outcome.update, default: "")" == "\(expected)", "\(pair) \(dtypes) \(epsilon) \(shape)")
            #expect(try own.together(part: part).outcome.first == result.outcome.first)
          }
        }
      }
    }
  }

  private func floats(_ bytes: [UInt8], _ dtype: DType) -> [Float] {
    unsafe bytes.withUnsafeBytes { unsafe dtype.floats($0) }
  }

  @Test("What is refused, and for which moment", arguments: levels)
  func refusals(level: KernelLevel) throws {
    for pair in adamSchemes {
      func failure(_ change: (inout [Float], inout [Float]) -> Void) throws -> QCodecError? {
        let own = try Self.makeCase(pair, shape: [1000], seed: 8, level: level, change: change)
        do {
          _ = try own.together(part: 0..<1000)
          return nil
        } catch { return error as? QCodecError }
      }
      let nan = try failure { m, v in (m[700], v[900]) = (.nan, .infinity) }
      #expect(nan?.code == .nonFiniteValue && nan?.tensor == "v" && nan?.index == 900)
      let negative = try failure { m, v in (m[3], v[999]) = (.nan, -1e-30) }
      #expect(negative?.code == .negativeValue && negative?.tensor == "v" && negative?.index == 999)
      let first = try failure { m, _ in m[701] = -.infinity }
      #expect(first?.code == .nonFiniteValue && first?.tensor == "m" && first?.index == 701)
      let overflow = try failure { m, v in (m[5], v[5]) = (3e38, 1e-30) }
      #expect(overflow?.code == .updateNotFinite && overflow?.tensor == "m")
      // The scale is finite, and the largest quotient decodes to more than float32 holds.
      let value = try failure { m, v in
        // The quotient is half of the greatest float, its scale 2^127.
        for index in m.indices { (m[index], v[index]) = (0, 4) }
        m[7] = .greatestFiniteMagnitude
      }
      #expect(value?.code == .updateNotFinite && value?.tensor == "m")
    }
  }

  @Test("What is no pair")
  func noPairs() throws {
    func decoder(_ scheme: Scheme, _ count: UInt64) throws -> ChunkDecoder {
      try ChunkDecoder(layout: TensorLayout(dtype: .f32, shape: [count], scheme: scheme), scales: [])
    }
    let (first, second) = (updateScheme(.cubic, 8, .block(64)), logScheme(8, block: 64))
    for (one, other, code) in [
      (try decoder(second, 64), try decoder(second, 64), QCodecError.Code.unsupportedScheme),
      (try decoder(first, 64), try decoder(first, 64), .unsupportedScheme),
      (try decoder(first, 64), try decoder(second, 65), .shapeMismatch),
    ] {
      let error = failure { () throws(QCodecError) in _ = try PairDecoder(first: one, second: other) }
      #expect(error?.code == code)
    }
  }

  @Test("Damaged payloads name their moment", arguments: levels)
  func damage(level: KernelLevel) throws {
    let own = try Self.makeCase(adamSchemes[0], shape: [600], seed: 9, level: level)
    let result = try own.separate(part: 0..<600)
    let decoder = try PairDecoder(
      first: ChunkDecoder(layout: own.layouts[0], scales: [], kernels: level),
      second: ChunkDecoder(layout: own.layouts[1], scales: [], kernels: level), names: ("m", "v"))
    for (moment, name) in [(0, "m"), (1, "v")] {
      var payloads = result.payloads
      // An infinite scale, or a block whose upper end is infinite.
      payloads[moment].replaceSubrange(moment * 4..<moment * 4 + 4, with: [0, 0, 0x80, 0x7F])
      var values = [UInt8](repeating: 0, count: 2400)
      let error = failure { () throws(QCodecError) in
        try unsafe payloads[0].withBytes { m throws(QCodecError) in
          try unsafe payloads[1].withBytes { v throws(QCodecError) in
            try unsafe values.withMutableBytes { target throws(QCodecError) in
              try unsafe decoder.decode(chunk: 0, first: m, second: v, into: target, nil)
            }
          }
        }
      }
      #expect(error?.code == .invalidScale && error?.tensor == name)
    }
  }
}
