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
    func runs(_ violations: [Int], width: (Int) -> Int) -> [Int] {
      let writer = EscapeWriter(violations, dtype: .f32, width: width)
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

  @Test("An escape takes the fewest bytes that keep what is asked for, and is zero only for zero")
  func widths() throws {
    let values: [Float] = [1.5, 1.0078, 1.00000012, 0, 0x1p-147, Float.greatestFiniteMagnitude]
    let layout = try TensorLayout(
      dtype: .f32, shape: [6], scheme: Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor))
    let source = unsafe DType.f32.bytes(values).withBytes { unsafe EscapeValues($0, layout: layout) }
    func widths(_ bound: Double) -> [Int] {
      values.indices.map { index in
        source.width(index) { value, reach in reach <= bound && (value - Double(values[index])).magnitude <= bound }
      }
    }
    #expect(widths(0.1) == [2, 2, 2, 2, 4, 4])
    #expect(widths(1e-4) == [3, 3, 3, 2, 4, 4])
    #expect(widths(1e-9) == [4, 4, 4, 2, 4, 4])
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
