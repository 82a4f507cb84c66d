import Testing

@testable import QCodec

/// Every kernel level equals the scalar reference: bytes, statistics and decoded values, bit for bit.
@Suite struct KernelEquivalenceTests {
  static let levels = KernelLevel.allCases.filter { $0 != .scalar && $0.isSupported }

  static let schemes: [Scheme] = {
    var result: [Scheme] = []
    let maps: [(Scheme.Map, Int, Bool)] = [
      (.dynamic, 8, true), (.dynamic, 8, false), (.dynamicNoZero, 8, false), (.linear, 8, true), (.linear, 8, false),
      (.linearNoZero, 8, true), (.linearNoZero, 8, false), (.dynamic, 4, true), (.dynamic, 4, false),
      (.dynamicNoZero, 4, false), (.linear, 4, true), (.linear, 4, false), (.linearNoZero, 4, true),
      (.linearNoZero, 4, false), (.normal, 4, true), (.cubic, 8, true), (.cubic, 4, true),
      (.linear, 6, true), (.linear, 5, false), (.linear, 3, true), (.linear, 2, true), (.linear, 2, false),
      (.linearNoZero, 6, false), (.linearNoZero, 3, true), (.linearNoZero, 2, false), (.cubic, 6, true),
      (.cubic, 5, true), (.cubic, 3, true), (.cubic, 2, true),
    ]
    for (map, bits, signed) in maps {
      for scaling in [Scheme.Scaling.block(32), .block(256), .block(4096), .tensor, .row, .column, .rank1] {
        result.append(Scheme(map: map, bits: bits, signed: signed, scaling: scaling))
      }
      result.append(Scheme(map: map, bits: bits, signed: signed, scaling: .block(64), scaleRule: .absmax))
    }
    for bits in Scheme.widths {
      for block in [32, 512, 4096] {
        result.append(Scheme(map: .log, bits: bits, signed: false, scaling: .block(block)))
      }
    }
    return result
  }()

  /// Values that try a scheme: random, heavy-tailed, thresholds and their neighbours, subnormals, zeros, extremes.
  static func values(_ count: Int, scheme: Scheme, seed: UInt64) -> [Float] {
    var random = SeededGenerator(seed: seed)
    let table = try? scheme.resolvedTable()
    let special: [Float] = [
      0, -0.0, 1, -1, .leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, 1e-30,
    ]
    var scale: Float = 1
    return (0..<count).map { index in
      if index % 32 == 0 {
        let exponent = Int(random.next() % 250) - 149
        scale = seed % 3 == 0 ? 1 : Float(sign: .plus, exponent: max(-149, min(100, exponent)), significand: 1)
      }
      let bits = random.next()
      var value: Float
      switch bits % 8 {
      case 0: value = special[Int((bits >> 8) % 8)]
      case 1, 2:
        let thresholds = table?.thresholds ?? [0.5]
        let near = thresholds.isEmpty ? 0.5 : thresholds[Int(bits >> 8) % thresholds.count]
        let steps = Int32((bits >> 40) % 5) - 2
        value = Float(bitPattern: UInt32(bitPattern: Int32(bitPattern: near.bitPattern) &+ steps)) * scale
      case 3: value = scale
      case 4: value = Float(bitPattern: UInt32(truncatingIfNeeded: bits >> 16)) * 0x1p-10
      default: value = (Float(bits >> 40) * 0x1p-23 - 1) * scale
      }
      if !value.isFinite { value = scale }
      return scheme.signed ? value : value.magnitude
    }
  }

  @Test(arguments: levels)
  func encodingAndDecoding(_ level: KernelLevel) throws {
    for (index, scheme) in Self.schemes.enumerated() {
      for (dtype, shape) in [
        (DType.f32, [33, 65] as [UInt64]), (.f32, [64, 64]), (.bf16, [7, 129]), (.f16, [64, 96]),
        (.f32, [40, 301]),
      ] {
        for seed in [UInt64(index), UInt64(index) + 3] {
          try check(scheme, dtype: dtype, shape: shape, level: level, seed: seed)
        }
      }
    }
  }

  @Test(arguments: levels)
  func everyTail(_ level: KernelLevel) throws {
    for count in 1...200 {
      for scheme in [
        Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(64)),
        Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(64)),
        Scheme(map: .linear, bits: 8, signed: true, scaling: .block(64)),
        Scheme(map: .normal, bits: 4, signed: true, scaling: .block(64)),
        Scheme(map: .log, bits: 8, signed: false, scaling: .block(64)),
        Scheme(map: .log, bits: 4, signed: false, scaling: .block(64)),
        Scheme(map: .cubic, bits: 6, signed: true, scaling: .block(64)),
        Scheme(map: .cubic, bits: 3, signed: true, scaling: .block(32)),
        Scheme(map: .linear, bits: 5, signed: false, scaling: .tensor),
        Scheme(map: .log, bits: 6, signed: false, scaling: .block(64)),
        Scheme(map: .log, bits: 5, signed: false, scaling: .block(32)),
        Scheme(map: .log, bits: 2, signed: false, scaling: .block(64)),
      ] {
        try check(scheme, dtype: .f32, shape: [UInt64(count)], level: level, seed: UInt64(count))
      }
    }
  }

  @Test(arguments: levels)
  func updateDomain(_ level: KernelLevel) throws {
    let maps: [(Scheme.Map, Int)] = [
      (.linear, 8), (.dynamic, 8), (.normal, 4), (.dynamic, 4), (.linear, 4), (.cubic, 8), (.cubic, 6), (.linear, 5),
      (.cubic, 3), (.linear, 2),
    ]
    for (map, bits) in maps {
      for scaling in [Scheme.Scaling.block(32), .block(256), .block(4096), .row, .column] {
        let scheme = Scheme(map: map, bits: bits, signed: true, scaling: scaling, domain: .update)
        for dtype in [DType.f32, .bf16] {
          for seed in 0..<4 as Range<UInt64> {
            try check(scheme, dtype: dtype, shape: [37, 131], level: level, seed: seed)
          }
        }
      }
    }
  }

  private func check(_ scheme: Scheme, dtype: DType, shape: [UInt64], level: KernelLevel, seed: UInt64) throws {
    let layout = try TensorLayout(dtype: dtype, shape: shape, scheme: scheme)
    let count = Int(layout.elementCount)
    var x = Self.values(count, scheme: scheme, seed: seed)
    var divisors: [Float] = []
    if scheme.domain == .update {
      var random = SeededGenerator(seed: seed)
      x = x.map { $0.magnitude > 1e10 ? 1e10 : $0 }
      divisors = (0..<count).map { _ in Float(sign: .plus, exponent: Int(random.next() % 60) - 40, significand: 1.3) }
    }
    let bytes = Self.bytes(x, dtype: dtype)
    let reference = Result { try Self.run(layout, bytes, divisors, .scalar) }
    let own = Result { try Self.run(layout, bytes, divisors, level) }
    let place: Comment = "\(level.name) \(scheme) \(dtype.name) \(shape) seed \(seed)"
    switch (reference, own) {
    case (.success(let expected), .success(let got)):
      #expect(got.payload == expected.payload, place)
      #expect(got.statistics == expected.statistics, place)
      #expect(got.values == expected.values, place)
      #expect(got.part == expected.part, place)
    case (.failure(let expected), .failure(let got)):
      #expect(got as? QCodecError == expected as? QCodecError, place)
    default: Issue.record("one of both throws: \(place)")
    }
  }

  private struct Outcome {
    let payload: [UInt8]
    let statistics: TensorStatistics
    let values: [UInt8]
    let part: [UInt8]
  }

  private static func run(
    _ layout: TensorLayout, _ bytes: [UInt8], _ divisors: [Float], _ level: KernelLevel
  ) throws -> Outcome {
    var scales: [Float] = []
    if ScalePass.isNeeded(for: layout) {
      let pass = ScalePass(layout: layout)
      try unsafe bytes.withUnsafeBytes { try unsafe pass.accumulate(chunk: 0, source: $0, divisors: divisors) }
      scales = pass.finish()
    }
    let encoder = try ChunkEncoder(layout: layout, name: "t", scales: scales, kernels: level)
    let decoder = try ChunkDecoder(layout: layout, scales: scales, kernels: level)
    var payload = [UInt8](repeating: 0xAA, count: layout.payloadByteCount(ofChunk: 0))
    let statistics = try unsafe bytes.withUnsafeBytes { source in
      try unsafe payload.withUnsafeMutableBytes {
        try unsafe encoder.encode(chunk: 0, source: source, divisors: divisors, into: $0)
      }
    }
    var unmeasured = [UInt8](repeating: 0xAA, count: payload.count)
    let none = try unsafe bytes.withUnsafeBytes { source in
      try unsafe unmeasured.withUnsafeMutableBytes {
        try unsafe encoder.encode(chunk: 0, source: source, divisors: divisors, into: $0, measures: false)
      }
    }
    #expect(unmeasured == payload && none == TensorStatistics())
    let count = Int(layout.elementCount)
    let range = count / 3..<count - count / 5
    return Outcome(
      payload: payload, statistics: statistics,
      values: try decode(decoder, payload, 0..<count, divisors),
      part: try decode(decoder, payload, range, divisors.isEmpty ? [] : Array(divisors[range])))
  }

  private static func decode(
    _ decoder: ChunkDecoder, _ payload: [UInt8], _ range: Range<Int>, _ divisors: [Float]
  ) throws -> [UInt8] {
    var values = [UInt8](repeating: 0, count: range.count * decoder.layout.elementSize)
    try unsafe payload.withUnsafeBytes { payload in
      try unsafe values.withUnsafeMutableBytes {
        try unsafe decoder.decode(chunk: 0, payload: payload, elements: range, divisors: divisors, into: $0)
      }
    }
    return values
  }

  static func bytes(_ values: [Float], dtype: DType) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: values.count * dtype.bitWidth / 8)
    // What is too large for float16 becomes finite.
    let values = dtype == .f16 ? values.map { $0.magnitude > 60_000 ? 1 : $0 } : values
    unsafe result.withUnsafeMutableBytes { target in
      unsafe values.withUnsafeBufferPointer { source in
        for start in stride(from: 0, to: values.count, by: ScalarKernels.segment) {
          let count = min(ScalarKernels.segment, values.count - start)
          unsafe ScalarKernels.store(
            source.baseAddress! + start, count: count, dtype: dtype,
            into: target.baseAddress! + start * dtype.bitWidth / 8)
        }
      }
    }
    return result
  }
}
