import Testing

@testable import QCodec

/// Sections of escapes: what an encoder writes of them, and what decoders make of that.
@Suite("Escapes")
struct EscapeTests {
  /// Values that no scheme of eight bits holds well: outliers, subnormal numbers, zeros of both signs, huge ranges.
  private static func awkward(_ count: Int, signed: Bool, dtype: DType, seed: UInt64) -> [Float] {
    var values = moments(count: count, signed: signed, seed: seed)
    for (index, value) in zip(
      stride(from: 0, to: count, by: max(1, count / 9)),
      [Float(1e4), 6e-8, 0x1p-147, -0.0, 0x1p-128, 0.5, 65_000, 2e-38, Float(bitPattern: 0x3F7F_FFFF)])
    { values[index] = value }
    return dtype.rounded(values)
  }

  private static func encoder(
    _ scheme: Scheme, _ values: [Float], _ dtype: DType, scale: Float? = nil, kernels: KernelLevel = .selected
  ) throws -> ChunkEncoder {
    var scheme = scheme
    scheme.hasEscapes = true
    let layout = try TensorLayout(dtype: dtype, shape: [UInt64(values.count)], scheme: scheme)
    let scales = layout.scaleCount == 1 ? [scale ?? values.map(\.magnitude).max() ?? 0] : []
    return try ChunkEncoder(layout: layout, name: "x", scales: scales, kernels: kernels)
  }

  private static let bounds: [ElementBound] = [
    .absolute(1e-3), .absolute(1e-12), .absolute(100), .relative(0.3), .relative(0.01), .relative(1e-6),
  ]

  @Test("Every element keeps its bound as decoders of every level decode it, whatever the scheme", arguments: bounds)
  func everyElement(_ bound: ElementBound) throws {
    for dtype in [DType.f32, .bf16, .f16] {
      for scheme in allSchemes(scaling: .tensor) + allSchemes(scaling: .block(64)) + [log] {
        for count in [1, 33, 2049] {
          let values = Self.awkward(count, signed: scheme.signed, dtype: dtype, seed: UInt64(count))
          let scale: Float? = scheme.scaling == .tensor && scheme.scaleRule == .absmax ? 0.25 : nil
          let encoder = try Self.encoder(scheme, values, dtype, scale: scale)
          let made = try encode(values, by: encoder, bound)
          for level in [KernelLevel.scalar, .selected] {
            let decoder = try ChunkDecoder(layout: encoder.layout, scales: encoder.scales, kernels: level)
            let decoded = try decoder.floats(chunk: 0, made.payload)
            let wrong = values.indices.first { !bound.holds(Double(values[$0]), Double(decoded[$0])) }
            #expect(wrong == nil, "\(scheme.map.name) \(dtype.name) \(wrong.map { (values[$0], decoded[$0]) } as Any)")
            try expectStatistics(made.statistics, of: values, decoded)
            if case .absolute(let limit) = bound, scheme.map == .linear, scale != nil, dtype == .f32, limit > 0.002 {
              #expect(made.statistics.guaranteedMaxAbsError <= limit)
            }
          }
        }
      }
    }
  }

  private let log = Scheme(map: .log, bits: 8, signed: false, scaling: .block(64))

  private func encode(
    _ values: [Float], by encoder: ChunkEncoder, _ bound: ElementBound
  ) throws -> (payload: [UInt8], statistics: TensorStatistics) {
    let bytes = encoder.layout.dtype.bytes(values)
    return try unsafe bytes.withBytes { bytes throws(QCodecError) in
      try unsafe BoundedEncoder(encoder, bound: bound).encode(chunk: 0, source: bytes)
    }
  }

  private func expectStatistics(_ found: TensorStatistics, of values: [Float], _ decoded: [Float]) throws {
    var expected = ChunkStatistics()
    for start in stride(from: 0, to: values.count, by: ScalarKernels.segment) {
      let count = min(ScalarKernels.segment, values.count - start)
      unsafe values.withUnsafeBufferPointer { values in
        unsafe decoded.withUnsafeBufferPointer { decoded in
          unsafe expected.measureErrors(
            values.baseAddress.unsafelyUnwrapped + start, values: decoded.baseAddress.unsafelyUnwrapped + start,
            count: count)
        }
      }
    }
    let measured = expected.finish(slack: 0)
    #expect(found.maxAbsError == measured.maxAbsError && found.squaredError == measured.squaredError)
    #expect(found.squaredSource == measured.squaredSource && found.zerosCreated == measured.zerosCreated)
    #expect(found.signChanges == measured.signChanges)
    #expect(found.guaranteedMaxAbsError >= found.maxAbsError)
  }

  @Test("Payloads are the same with every kernel")
  func sameBytes() throws {
    let values = Self.awkward(5000, signed: true, dtype: .f32, seed: 3)
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor)
    let payloads = try [KernelLevel.scalar, .selected].map { level in
      try encode(values, by: Self.encoder(scheme, values, .f32, scale: 0.01, kernels: level), .absolute(1e-4)).payload
    }
    #expect(payloads[0] == payloads[1])
  }

  @Test("A slice is what the whole has there")
  func slices() throws {
    let values = Self.awkward(700, signed: true, dtype: .f32, seed: 4)
    let scheme = Scheme(map: .linear, bits: 4, signed: true, scaling: .block(64))
    let encoder = try Self.encoder(scheme, values, .f32)
    let made = try encode(values, by: encoder, .absolute(1e-5))
    for level in [KernelLevel.scalar, .selected] {
      let decoder = try ChunkDecoder(layout: encoder.layout, scales: [], kernels: level)
      let whole = try decoder.floats(chunk: 0, made.payload)
      for range in [0..<0, 0..<1, 3..<700, 127..<129, 311..<640, 699..<700] {
        var part = [UInt8](repeating: 0, count: 4 * range.count)
        try unsafe made.payload.withBytes { payload throws(QCodecError) in
          try unsafe part.withMutableBytes { target throws(QCodecError) in
            try unsafe decoder.decode(chunk: 0, payload: payload, elements: range, into: target)
          }
        }
        #expect(part == DType.f32.bytes(Array(whole[range])), "\(range)")
      }
    }
  }

  @Test("Neighbours share a run where that takes no more bytes")
  func runs() {
    func runs(_ violations: [Int], bytes: (Int) -> Int) -> [Int] {
      let writer = EscapeWriter(violations) {
        EscapeForm(bits: 8 * bytes($0))
      } holds: { _, _ in
        true
      }
      var payload: [UInt8] = []
      writer.append(to: &payload) { _, _ in 0 }
      #expect(payload.count == writer.byteCount)
      return [Int(payload[0]), payload.count]
    }
    #expect(runs([]) { _ in 2 } == [0, 4])
    #expect(runs([5]) { _ in 2 } == [1, 14])
    #expect(runs([5, 6, 7]) { _ in 2 } == [1, 18])
    // Four elements between two cost what another head costs.
    #expect(runs([0, 5]) { _ in 2 } == [1, 24])
    #expect(runs([0, 6]) { _ in 2 } == [2, 24])
    // What lies between may need more bytes than either.
    #expect(runs([0, 2]) { $0 == 1 ? 4 : 2 } == [1, 24])
    #expect(runs([0, 3]) { $0 == 1 ? 4 : 2 } == [2, 24])
    #expect(runs(Array(0..<100) + [101]) { $0 == 101 ? 4 : 2 } == [2, 224])
  }

  @Test("Floats and multiples, and multiples of different steps, share no run")
  func formsApart() {
    let forms = [EscapeForm(bits: 16), EscapeForm(bits: 16, exponent: -4), EscapeForm(bits: 16, exponent: 3)]
    let writer = EscapeWriter([0, 1, 2]) {
      forms[$0]
    } holds: { _, _ in
      true
    }
    #expect(writer.runs.map(\.form) == forms)
    let wide = EscapeWriter([0, 1]) {
      EscapeForm(bits: 8 << $0, exponent: 3)
    } holds: { _, _ in
      true
    }
    #expect(wide.runs.map(\.form) == [EscapeForm(bits: 16, exponent: 3)])
  }

  @Test("A run takes more bits until all its elements hold, for more bits may serve one of them worse")
  func widened() {
    let writer = EscapeWriter([0, 1]) {
      EscapeForm(bits: $0 == 0 ? 9 : 12)
    } holds: { element, form in
      element == 1 || form.bits == 9 || form.bits > 13
    }
    #expect(writer.runs.map(\.form) == [EscapeForm(bits: 14)])
    let never = EscapeWriter([0]) { _ in
      EscapeForm(bits: 20)
    } holds: { _, _ in
      false
    }
    #expect(never.runs.map(\.form) == [EscapeForm(bits: 32)])
  }

  private static func values(_ values: [Float], _ bound: ElementBound? = nil, signed: Bool = true) throws
    -> EscapeValues
  {
    let scheme = Scheme(map: .linear, bits: 8, signed: signed, scaling: .tensor)
    let layout = try TensorLayout(dtype: .f32, shape: [UInt64(values.count)], scheme: scheme)
    return unsafe DType.f32.bytes(values).withBytes { unsafe EscapeValues($0, layout: layout, bound: bound) }
  }

  @Test("A float takes the fewest bits that keep what is asked for, whatever the hint, and is zero only for zero")
  func bits() throws {
    let values: [Float] = [1.5, 1.0078, 1.00000012, 0, 0x1p-147, Float.greatestFiniteMagnitude]
    let source = try Self.values(values)
    for hint in [9, 12, 13, 22, 31, 32] {
      func bits(_ bound: Double) -> [Int] {
        let criterion = ElementCriterion(values: values, bound: .absolute(bound))
        return values.indices.map { source.float($0, near: hint, criterion).bits }
      }
      #expect(bits(0.1) == [12, 12, 12, 9, 30, 32])
      #expect(bits(1e-4) == [22, 22, 22, 9, 30, 32])
      #expect(bits(1e-9) == [32, 32, 32, 9, 30, 32])
    }
  }

  @Test("A multiple is of the largest step that keeps the bound, in the fewest bytes")
  func multiples() throws {
    let values: [Float] = [0.4, -127.4, 127.6, -32767.25, 32768, 8_388_607, 8_388_608, 1e9, -0.0]
    let source = try Self.values(values, .absolute(0.7))
    #expect(source.exponent == 0)
    let criterion = ElementCriterion(values: values, bound: .absolute(0.7))
    let forms = values.indices.map { source.multiple($0, criterion) }
    #expect(forms.map { $0?.bits } == [8, 8, 16, 16, 24, 24, nil, nil, 8])
    let decoded = zip(values.indices, forms).map { index, form in
      form.map {
        $0.pattern(stored: source.stored(index, $0) & (.max >> UInt32(32 - $0.bits))).map(Float.init(bitPattern:))
      }
    }
    #expect(decoded == [0, -127, 128, -32767, 32768, 8_388_607, nil, nil, 0])
    #expect(try Self.values(values, .absolute(0x1p-151)).exponent == nil)
    #expect(try Self.values(values, .absolute(0x1p-150)).exponent == -149)
    #expect(try Self.values(values, .absolute(.greatestFiniteMagnitude)).exponent == 105)
    #expect(try Self.values(values, .relative(0.1)).exponent == nil)
  }

  @Test("Multiples are exact in float32 for every step, and refused beyond it")
  func patterns() {
    for exponent in EscapeForm.exponents {
      for multiple in [1, -1, 3, 127, -128, 255, 32767, -32768, 8_388_607, -8_388_608, 5_000_001] {
        let bits = multiple.magnitude < 128 ? 8 : multiple.magnitude < 32768 ? 16 : 24
        let form = EscapeForm(bits: bits, exponent: exponent)
        let stored = UInt32(truncatingIfNeeded: multiple) & (.max >> UInt32(32 - bits))
        let value = Double(multiple) * Double(sign: .plus, exponent: exponent, significand: 1)
        let expected = value.magnitude <= Double(Float.greatestFiniteMagnitude) ? Float(value).bitPattern : nil
        #expect(form.pattern(stored: stored) == expected, "\(multiple) · 2^\(exponent)")
        if let expected { #expect(Double(Float(bitPattern: expected)) == value) }
      }
    }
  }

  @Test("Under one scale escaped elements have the code of zero")
  func silence() throws {
    let values: [Float] = [0.1, 5, -7, 0.2, 9, -0.25]
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor)
    let encoder = try Self.encoder(scheme, values, .f32, scale: 0.25)
    let payload = try encode(values, by: encoder, .absolute(0.001)).payload
    // The fourth lies between two that share a run.
    #expect(payload[1..<5] == [127, 127, 127, 127])
    #expect(payload[0] != 127 && payload[5] == 0)
  }

  @Test("Streams in memory and imports have no escapes")
  func refused() throws {
    var scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(64))
    scheme.hasEscapes = true
    #expect(throws: QCodecError.self) { try TensorCodec(dtype: .f32, shape: [64], scheme: scheme) }
    scheme.domain = .update
    #expect(throws: QCodecError.self) { try MomentCodec(shape: [64], first: scheme, second: log) }
    scheme.domain = .value
    (scheme.rounding, scheme.scaleRule) = (.unknown, .unknown)
    #expect(throws: QCodecError.self) { try TensorLayout(dtype: .f32, shape: [64], scheme: scheme) }
  }
}

extension DType {
  /// Values of the type next to some.
  func rounded(_ values: [Float]) -> [Float] { unsafe bytes(values).withBytes { unsafe floats($0) } }

  /// Values as the type's bytes.
  func bytes(_ values: [Float]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: values.count * bitWidth / 8)
    unsafe bytes.withMutableBytes { unsafe store(values, into: $0) }
    return bytes
  }
}
