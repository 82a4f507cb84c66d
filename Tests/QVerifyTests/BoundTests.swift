import Testing

@testable import QCodec
@testable import QVerify

@Suite("Bounds hold")
struct BoundTests {
  /// Encodes values and holds every element against its bound; says what fails first.
  private static func firstFailure(_ codec: TensorCodec, _ values: [Float]) throws -> String? {
    let (stream, statistics) = try codec.encode(exact: values)
    let decoded = try codec.decode(bytes: stream)
    let layout = codec.layout
    let scales = (0..<layout.scaleCount).map { index in
      Float(bitPattern: PlainFloat.integer(stream, index * 4, 4, as: UInt32.self))
    }
    let bound = SchemeBound(layout: layout)
    let payload = Array(stream[(layout.scaleCount * 4)...])
    let plain = PlainChunk(layout: layout, scales: scales, payload: payload, chunk: 0)
    var guarantee = 0.0
    for (index, x) in values.enumerated() {
      let scale = plain.scale(index)
      let code = plain.code(index)
      let got = plain.value(index, divisor: nil)
      var place: String { "element \(index): x \(x), scale \(scale), code \(code), decoded \(got)" }
      guard got == PlainFloat.value(decoded, index, dtype: layout.dtype) else { return "\(place), not so by the codec" }
      guard x.magnitude <= scale.magnitude else { return "\(place), beyond its scale" }
      guard let limit = bound.bound(code: code, scale: scale) else { return "\(place), without bound" }
      guard (Double(x) - got).magnitude <= limit else { return "\(place), bound \(limit)" }
      guarantee = max(guarantee, limit)
    }
    return guarantee == statistics.guaranteedMaxAbsError
      ? nil : "recorded \(statistics.guaranteedMaxAbsError), recomputed \(guarantee)"
  }

  /// Magnitudes of scales from the least subnormal to the largest value of a dtype.
  private static func magnitudes(_ dtype: DType) -> [Float] {
    switch dtype {
    case .bf16: [0x1p-133, 0x1.8p-132, 0x1.4p-127, 0x1p-126, 0x1.66p-1, 1, 0x1.FEp127]
    case .f16: [0x1p-24, 0x1.8p-23, 0x1.4p-15, 0x1p-14, 0x1.668p-1, 1, 65_504]
    default: [0x1p-149, 3 * 0x1p-149, 0x1.4CCp-127, 0x1.000002p-126, 0x1.666666p-1, 1, 0x1.FFFFFEp127]
    }
  }

  /// What lies on, and one and two units of the dtype beside, every threshold and entry times a scale.
  private static func probes(_ table: MapTable, scale: Float, dtype: DType) -> [Float] {
    var patterns: Set<UInt32> = []
    let sign: UInt32 = dtype == .f32 ? 0x8000_0000 : 0x8000
    for y in table.entries + table.thresholds + [0, -0.0, 1, -1] {
      let pattern = Narrow.pattern(y * scale, dtype: dtype)
      for step in -2...2 {
        // Patterns count magnitudes, so that a step never crosses zero.
        let magnitude = Int(pattern & (sign - 1)) + step
        if magnitude >= 0 { patterns.insert(pattern & sign | UInt32(magnitude)) }
      }
    }
    let values = patterns.sorted().map { Narrow.value($0, dtype: dtype) }
    return values.filter { $0.magnitude <= scale.magnitude && (table.signed || $0 >= 0) }
  }

  @Test("Beside every threshold and entry, at every scale", arguments: schemeCases(), quantizableDTypes)
  func adversarial(test: SchemeCase, dtype: DType) throws {
    let table = try #require(try test.scheme.resolvedTable())
    var values: [Float] = []
    for magnitude in Self.magnitudes(dtype) {
      for extreme in test.scheme.signed ? [magnitude, -magnitude] : [magnitude] {
        let probes = Self.probes(table, scale: extreme, dtype: dtype)
        // Every block begins with its extreme, so that this is its scale.
        for start in stride(from: 0, to: probes.count, by: 63) {
          let block = [extreme] + probes[start..<min(start + 63, probes.count)]
          values += block + [Float](repeating: extreme, count: 64 - block.count)
        }
      }
    }
    let codec = try TensorCodec(dtype: dtype, shape: [UInt64(values.count)], scheme: test.scheme)
    let problem = try Self.firstFailure(codec, values)
    #expect(problem == nil, "\(test), \(dtype.name)")
  }

  @Test("Heavy tails under every scaling", arguments: schemeCases(), quantizableDTypes)
  func heavyTails(test: SchemeCase, dtype: DType) throws {
    let seed: UInt64 = 29
    var values = heavyTailed(count: 1200, signed: test.scheme.signed, dtype: dtype, seed: seed)
    // A row and a column of zeros, whose scale is 0.
    for index in values.indices where index < 200 || index % 20 == 7 { values[index] = 0 }
    for scaling in [Scheme.Scaling.tensor, .block(32), .row, .column, .rank1] {
      let codec = try TensorCodec(dtype: dtype, shape: [6, 10, 20], scheme: test.scaled(scaling))
      #expect(codec.layout.scheme.scaling == scaling)
      let problem = try Self.firstFailure(codec, values)
      #expect(problem == nil, "\(test), \(dtype.name), \(scaling.name), seed \(seed)")
    }
  }

  @Test("All zero: nothing is off, and the guarantee is 0", arguments: schemeCases())
  func zeros(test: SchemeCase) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [100], scheme: test.scheme)
    let (stream, statistics) = try codec.encode(exact: [Float](repeating: -0.0, count: 100))
    #expect(statistics.guaranteedMaxAbsError == 0)
    #expect(try codec.decode(bytes: stream) == [UInt8](repeating: 0, count: 400))
  }
}
