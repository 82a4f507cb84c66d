import QCodec
import Testing

@testable import QCheckpoint

@Suite("First moments that cannot be in the update domain")
struct PairFallbackTests {
  private static let dynamic8 = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))

  /// Expects what a pair is stored as, and that nothing tells of a pair.
  private func expect(
    _ pair: Pair, first: Scheme?, _ reason: FallbackReason, second: Scheme?, _ secondReason: FallbackReason,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let reader = try opened(pair.file())
    let (m, v) = (try reader.named("m"), try reader.named("v"))
    #expect(m.info.scheme == first, sourceLocation: sourceLocation)
    #expect(m.info.reason == reason, sourceLocation: sourceLocation)
    #expect(v.info.scheme == second, sourceLocation: sourceLocation)
    #expect(v.info.reason == secondReason, sourceLocation: sourceLocation)
    #expect(m.info.reference == nil && reader.measuredPairs.isEmpty, sourceLocation: sourceLocation)
    // One tensor after the other, the second moment first.
    let places = Array(v.info.chunks) + Array(m.info.chunks)
    #expect(places == Array(1..<1 + places.count), sourceLocation: sourceLocation)
    if first == nil { #expect(try reader.bytes(ofTensor: m.index) == pair.m, sourceLocation: sourceLocation) }
    if second == nil { #expect(try reader.bytes(ofTensor: v.index) == pair.v, sourceLocation: sourceLocation) }
    guard let first else { return }
    let alone = try opened(
      checkpoint {
        try $0.add(
          name: "m", dtype: pair.dtypes.first, shape: pair.shape, encoding: .quantized(first),
          source: MemorySource(bytes: pair.m))
      })
    #expect(try reader.bytes(ofTensor: m.index) == alone.bytes(ofTensor: 0), sourceLocation: sourceLocation)
  }

  private let pair = Pair(shape: [3000], seed: 93).with { $0.epsilon = 1e-8 }

  private func withV(_ index: Int, _ value: Float) -> Pair {
    pair.with { $0.v.replaceSubrange(index * 4..<index * 4 + 4, with: littleEndian(value.bitPattern)) }
  }

  private func withM(_ index: Int, _ value: Float) -> Pair {
    pair.with { $0.m.replaceSubrange(index * 4..<index * 4 + 4, with: littleEndian(value.bitPattern)) }
  }

  @Test("A second moment that turns out lossless: negative, or not finite and raw", arguments: [0, 2999])
  func lossless(index: Int) throws {
    let negative = withV(index, -1e-20).with { $0.negativeFallsBack = true }
    try expect(negative, first: Self.dynamic8, .secondMomentNotUsable, second: nil, .negative)
    for value in [Float.nan, .infinity] {
      let raw = withV(index, value).with { $0.nonFinite = .raw }
      try expect(raw, first: Self.dynamic8, .secondMomentNotUsable, second: nil, .nonFinite)
    }
    // As −0 is not negative, all is well.
    let reader = try opened(withV(index, -0.0).file())
    #expect(try reader.named("m").info.scheme?.domain == .update)
  }

  @Test("A second moment that is to be lossless, or is signed")
  func unusable() throws {
    try expect(
      pair.with { $0.second = .lossless(reason: .tooSmall) }, first: Self.dynamic8, .secondMomentNotUsable,
      second: nil, .tooSmall)
    let signed = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(64))
    try expect(
      pair.with { $0.second = .quantized(signed) }, first: Self.dynamic8, .secondMomentNotUsable, second: signed, .none)
  }

  @Test("A quotient, a scale or a value that overflows", arguments: [Scheme.Scaling.block(256), .tensor])
  func overflow(scaling: Scheme.Scaling) throws {
    for (m, v) in [
      (Float(1e38), Float(1e-30)), (.greatestFiniteMagnitude, 0), (.greatestFiniteMagnitude, 1),
      (.greatestFiniteMagnitude, 4),
    ] {
      var bad = withM(2500, m).with { $0.first = .quantized(updateScheme(scaling)) }
      bad.v.replaceSubrange(10_000..<10_004, with: littleEndian(v.bitPattern))
      try expect(bad, first: Self.dynamic8, .updateNotFinite, second: log8, .none)
    }
  }

  @Test("Extremes that might overflow and do not stay in the update domain")
  func nearly() throws {
    // The extremes alone tell of a quotient of 1e38 / 1e-15; they stand apart.
    var wide = withM(0, 1e30)
    wide.v.replaceSubrange(0..<4, with: littleEndian(Float(1e20).bitPattern))
    wide.v.replaceSubrange(400..<404, with: littleEndian(Float(1e-30).bitPattern))
    let reader = try opened(wide.file())
    #expect(try reader.named("m").info.scheme?.domain == .update)
    #expect(try reader.named("m").info.reason == .none)
  }

  @Test("A value that overflows float16 alone")
  func half() throws {
    let root = Float(60_000 / (Double(65_504) * 127 / 69.6))
    var pair = Pair([65_504, 60_000], [1, root * root])
    #expect(try opened(pair.file()).named("m").info.scheme?.domain == .update)
    pair.dtypes.first = .f16
    pair.m = momentBytes([65_504, 60_000], dtype: .f16)
    try expect(pair, first: Self.dynamic8, .updateNotFinite, second: log8, .none)
  }

  @Test("A first moment that is not finite, and raw: lossless; the second moment is what it was to be")
  func nonFinite() throws {
    for value in [Float.nan, .infinity, -.infinity] {
      let raw = withM(1234, value).with { $0.nonFinite = .raw }
      try expect(raw, first: nil, .nonFinite, second: log8, .none)
    }
  }

  @Test("A first moment that is to be in the value domain, or lossless, is")
  func value() throws {
    try expect(
      pair.with { $0.first = .quantized(Self.dynamic8, reason: .noSecondMoment) }, first: Self.dynamic8,
      .noSecondMoment, second: log8, .none)
    try expect(
      pair.with { $0.first = .lossless(reason: .none) }, first: nil, .none, second: log8, .none)
  }

  @Test("The fallback is the rule's, else the dynamic map of the same width, block and rounding, or cubic")
  func schemes() throws {
    let bad = withV(7, -1).with { $0.negativeFallsBack = true }
    let row = Scheme(map: .linear, bits: 4, signed: true, scaling: .tensor)
    try expect(bad.with { $0.fallback = row }, first: row, .secondMomentNotUsable, second: nil, .negative)
    for (own, wanted) in [
      (updateScheme(.block(64), map: .normal, bits: 4), (4, Scheme.Scaling.block(64))),
      (updateScheme(.tensor), (8, .block(256))), (updateScheme(.row, bits: 4), (4, .block(128))),
      (updateScheme(.block(64), map: .linear, bits: 6), (6, .block(64))),
      (updateScheme(.tensor, map: .cubic, bits: 3), (3, .block(128))),
    ] {
      let map: Scheme.Map = wanted.0 == 8 || wanted.0 == 4 ? .dynamic : .cubic
      let fallback = Scheme(map: map, bits: wanted.0, signed: true, scaling: wanted.1)
      // One dimension: a row falls back to blocks before anything else.
      try expect(
        bad.with { $0.first = .quantized(own) }, first: fallback, .secondMomentNotUsable, second: nil, .negative)
    }
    var stochastic = updateScheme()
    (stochastic.rounding, stochastic.seed) = (.stochastic, 9)
    let reader = try opened(bad.with { $0.first = .quantized(stochastic) }.file())
    let found = try #require(try reader.named("m").info.scheme)
    #expect(found.map == .dynamic && found.rounding == .stochastic && found.seed == 9)
  }
}
