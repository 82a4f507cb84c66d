import Testing

@testable import QCodec
@testable import QVerify

@Suite("Cell radii")
struct RadiusTests {
  @Test("The encoder's and the verifier's agree to the bit", arguments: schemeCases(), quantizableDTypes)
  func agree(test: SchemeCase, dtype: DType) throws {
    let layout = try TensorLayout(dtype: dtype, shape: [64], scheme: test.scheme)
    let encoder = CellRadii(table: try #require(layout.table), scheme: layout.scheme, dtype: dtype)
    let verifier = SchemeBound(layout: layout)
    #expect(verifier.radii == encoder.radii)
    #expect(encoder.radii.count == 1 << test.scheme.bits)
    #expect(verifier.absolute == encoder.slack)
  }

  @Test("The example of the spec")
  func example() throws {
    let scheme = Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(32))
    let codec = try TensorCodec(dtype: .f32, shape: [4], scheme: scheme)
    let (stream, statistics) = try codec.encode(exact: [0.3, -0.5, 0.01, 0])
    #expect(stream == littleEndian(Float(-0.5).bitPattern) + [0x1F, 0x57])
    let bound = SchemeBound(layout: codec.layout)
    #expect(bound.bound(code: 1, scale: -0.5) == 0.05625006556516041)
    #expect(bound.bound(code: 15, scale: -0.5) == 0.0281250476837414)
    #expect(bound.bound(code: 5, scale: -0.5) == 0.011250058189044693)
    #expect(bound.bound(code: 7, scale: -0.5) == 0.0013750595971954453)
    #expect(statistics.guaranteedMaxAbsError == 0.05625006556516041)
    let narrow = SchemeBound(layout: try TensorLayout(dtype: .bf16, shape: [4], scheme: scheme))
    #expect(narrow.bound(code: 1, scale: -0.5) == 0.057544010924227715)
  }

  @Test("Scale 0 bounds by 0, a scale beyond the dtype by nothing", arguments: quantizableDTypes)
  func ends(dtype: DType) throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor)
    let bound = SchemeBound(layout: try TensorLayout(dtype: dtype, shape: [4], scheme: scheme))
    let greatest: [DType: Float] = [.f32: .greatestFiniteMagnitude, .bf16: 0x1.FEp127, .f16: 65_504]
    let last = try #require(greatest[dtype])
    for code in 0..<256 {
      #expect(bound.bound(code: code, scale: 0) == 0)
      let most = try #require(bound.bound(code: code, scale: -last))
      #expect(most.isFinite)
      if dtype != .f32 { #expect(bound.bound(code: code, scale: -last.nextUp) == .infinity) }
    }
  }

  @Test("Unknown rounding bounds nothing")
  func unknown() throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor, rounding: .unknown)
    let bound = SchemeBound(layout: try TensorLayout(dtype: .f32, shape: [4], scheme: scheme))
    #expect(bound.radii == nil)
    #expect(bound.bound(code: 3, scale: 1) == nil)
    #expect(bound.bound(code: 3, scale: 0) == nil)
  }

  // MARK: No looser than need be

  /// The largest |x − x̂| of each code at scale 1, where x is its own quotient.
  private static func worst(_ test: SchemeCase, _ values: [Float]) throws -> [Double] {
    let codec = try TensorCodec(dtype: .f32, shape: [UInt64(values.count)], scheme: test.scaled(.tensor))
    let stream = try codec.encode(exact: values).stream
    #expect(Array(stream[..<4]) == littleEndian(Float(1).bitPattern))
    let plain = PlainChunk(layout: codec.layout, scales: [1], payload: Array(stream[4...]), chunk: 0)
    var result = [Double](repeating: 0, count: 1 << test.scheme.bits)
    for (index, value) in values.enumerated() {
      let code = plain.code(index)
      result[code] = max(result[code], (Double(value) - plain.value(index, divisor: nil)).magnitude)
    }
    return result
  }

  private static func expectReached(_ test: SchemeCase, _ worst: [Double]) throws {
    let layout = try TensorLayout(dtype: .f32, shape: [64], scheme: test.scheme)
    let radii = try #require(SchemeBound(layout: layout).radii)
    for code in 0..<(try #require(layout.table)).distinctCount {
      let radius = radii[code] - 0x1p-23
      // What is smaller than this is lost in the sum with 2^-23.
      let lost = 0x1p-60
      #expect(worst[code] <= radius + lost, "\(test), code \(code)")
      if radius > 128 * lost { #expect(worst[code] >= 0.99 * radius, "\(test), code \(code)") }
    }
  }

  @Test("Some element of each code is off by its radius", arguments: schemeCases([.nearest, .nearestKeepNonzero]))
  func reached(test: SchemeCase) throws {
    let table = try #require(try test.scheme.resolvedTable())
    var values: [Float] = [1, 0, .leastNonzeroMagnitude]
    if test.scheme.signed { values += [-.leastNonzeroMagnitude, -1] }
    for threshold in table.thresholds { values += [threshold, threshold.nextUp] }
    try Self.expectReached(test, Self.worst(test, values))
  }

  @Test("Stochastic rounding reaches nearly to the neighbours", arguments: schemeCases([.stochastic], bits: [4]))
  func reachedStochastic(test: SchemeCase) throws {
    let table = try #require(try test.scheme.resolvedTable())
    var values: [Float] = [1, test.scheme.signed ? -1 : 0]
    for (low, high) in zip(table.entries, table.entries.dropFirst()) where low < high {
      // Each goes to the far entry with probability 0.008; that none of 2,000 does has probability 1e-7.
      let near = Float(0.992 * Double(high) + 0.008 * Double(low))
      let far = Float(0.992 * Double(low) + 0.008 * Double(high))
      values += [Float](repeating: near, count: 2000) + [Float](repeating: far, count: 2000)
    }
    try Self.expectReached(test, Self.worst(test, values))
  }
}
