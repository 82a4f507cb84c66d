import QCodec
import Testing

@Suite("Invariants of the codec")
struct InvariantTests {
  /// Scalings and a shape that each of them really applies to.
  static let scalings: [Scheme.Scaling] = [.tensor, .block(32), .row, .column, .rank1]
  static let shape: [UInt64] = [96, 80]

  static var schemes: [Scheme] { scalings.flatMap { allSchemes(scaling: $0) } }

  @Test("Zero decodes to +0, extremes exactly, signs are kept", arguments: schemes)
  func zerosExtremesSigns(scheme: Scheme) throws {
    let values = moments(count: 96 * 80, signed: scheme.signed, seed: 11)
    let codec = try TensorCodec(dtype: .f32, shape: Self.shape, scheme: scheme)
    let (stream, statistics) = try codec.encode(values)
    let decoded = try codec.decode(stream)
    let hasZero = try #require(codec.layout.table).entries.contains(0)
    var zeros: UInt64 = 0
    for (value, result) in zip(values, decoded) {
      if value == 0, hasZero { #expect(result.bitPattern == 0) }
      if value != 0, result == 0 { zeros += 1 }
      if value != 0, result != 0 { #expect((value < 0) == (result < 0)) }
      if !hasZero, value > 0 { #expect(result > 0) }
    }
    #expect(statistics.zerosCreated == zeros)
    #expect(statistics.signChanges == 0)
    let extreme = try #require(values.indices.max { values[$0].magnitude < values[$1].magnitude })
    // Under rank1 with a map lacking −1, a negative extreme has no code of its own.
    if codec.layout.scheme.scaling != .rank1 || values[extreme] > 0 { #expect(decoded[extreme] == values[extreme]) }
  }

  @Test("All-zero tensors store +0 scales and decode to +0 where the map has a zero", arguments: schemes)
  func allZero(scheme: Scheme) throws {
    let codec = try TensorCodec(dtype: .f32, shape: Self.shape, scheme: scheme)
    let values = [Float](repeating: -0.0, count: 96 * 80)
    let (stream, statistics) = try codec.encode(values)
    #expect(try codec.decode(stream).allSatisfy { $0.bitPattern == 0 })
    #expect(statistics.guaranteedMaxAbsError == 0)
    #expect(Array(stream[..<4]) == [0, 0, 0, 0])
  }

  @Test("Saving what was loaded changes nothing over 100 cycles", arguments: presetSchemes)
  func idempotent(scheme: Scheme) throws {
    let values = moments(count: 96 * 160, signed: scheme.signed, seed: 5)
    let codec = try TensorCodec(dtype: .f32, shape: [96, 160], scheme: scheme)
    let first = try codec.encode(values).stream
    let decoded = try codec.decode(first)
    var current = decoded
    var stream = first
    for _ in 0..<100 {
      stream = try codec.encode(current).stream
      current = try codec.decode(stream)
      #expect(current == decoded)
    }
    #expect(stream == first)
  }

  @Test("Equal bytes and statistics over 1, 2 and 7 threads", arguments: presetSchemes)
  func threads(scheme: Scheme) throws {
    let values = moments(count: 1100 * 700, signed: scheme.signed, seed: 9)
    let codec = try TensorCodec(dtype: .f32, shape: [1100, 700], scheme: scheme)
    let one = try codec.encode(values, threads: 1)
    for threads in [2, 7] {
      let other = try codec.encode(values, threads: threads)
      #expect(other.stream == one.stream)
      #expect(other.statistics == one.statistics)
      #expect(try codec.decode(one.stream, threads: threads) == codec.decode(one.stream, threads: 1))
    }
  }

  @Test("Every block tail to two blocks, and every place of an end within a byte", arguments: Scheme.widths)
  func tails(bits: Int) throws {
    let map: Scheme.Map = bits == 8 || bits == 4 ? .dynamic : .cubic
    let scheme = Scheme(map: map, bits: bits, signed: true, scaling: .block(32))
    let values = moments(count: 65, signed: true, seed: 2)
    for count in 0...65 {
      let codec = try TensorCodec(dtype: .f32, shape: [UInt64(count)], scheme: scheme)
      let blocks = (count + 31) / 32
      #expect(codec.encodedByteCount == blocks * 4 + (count * bits + 7) / 8)
      let (stream, _) = try codec.encode(Array(values[..<count]))
      if count > 0 { #expect(stream[stream.count - 1] & 0xFF >> UInt8((count * bits + 7) % 8 + 1) == 0) }
      // An element's code depends on its own block alone.
      let whole = try TensorCodec(dtype: .f32, shape: [65], scheme: scheme)
      let all = try whole.decode(whole.encode(values).stream)
      let decoded = try codec.decode(stream)
      let complete = count / 32 * 32
      #expect(Array(decoded[..<complete]) == Array(all[..<complete]))
    }
  }

  @Test("Every code decodes to its entry times its scale", arguments: allSchemes())
  func everyCode(scheme: Scheme) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [256], scheme: scheme)
    let entries = try #require(codec.layout.table).entries
    let scale: Float = scheme.scaleRule == .signedExtreme ? -3.7 : 3.7
    var stream: [UInt8] = []
    for _ in 0..<4 { unsafe withUnsafeBytes(of: scale) { unsafe stream.append(contentsOf: $0) } }
    let codes = (0..<256).map { UInt8($0 % (1 << scheme.bits)) }
    stream += packedCodes(codes, bits: scheme.bits)
    let decoded = try codec.decode(stream)
    for (code, value) in zip(codes, decoded) {
      #expect(value.bitPattern == (entries[Int(code)] * scale + 0).bitPattern)
    }
  }

  @Test("Slices equal the whole", arguments: scalings, [2, 3, 4, 5, 6])
  func slices(scaling: Scheme.Scaling, bits: Int) throws {
    let shape: [UInt64] = [1001, 3, 173]
    let values = moments(count: 1001 * 3 * 173, signed: false, seed: 21)
    let scheme = Scheme(map: .linear, bits: bits, signed: false, scaling: scaling)
    let codec = try TensorCodec(dtype: .f32, shape: shape, scheme: scheme)
    let stream = try codec.encode(values).stream
    let whole = try codec.decode(stream)
    for rows in [0..<1, 504..<507, 0..<1001, 1000..<1001, 7..<7] as [Range<UInt64>] {
      let slice = try codec.decodeRows(rows, of: stream)
      #expect(slice == Array(whole[Int(rows.lowerBound) * 519..<Int(rows.upperBound) * 519]))
    }
    let beyond = failure { () throws(QCodecError) in _ = try codec.decodeRows(0..<1002, of: stream) }
    #expect(beyond?.code == .invalidArgument)
  }

  @Test("Elements stay within the bound of their code, and the guarantee covers them", arguments: schemes)
  func bounds(scheme: Scheme) throws {
    for (seed, rounding) in [Scheme.Rounding.nearest, .nearestKeepNonzero, .stochastic].enumerated() {
      var scheme = scheme
      scheme.rounding = rounding
      scheme.seed = rounding == .stochastic ? 17 : 0
      let values = moments(count: 96 * 80, signed: scheme.signed, seed: UInt64(seed))
      for dtype in [DType.f32, .bf16, .f16] {
        let codec = try TensorCodec(dtype: dtype, shape: Self.shape, scheme: scheme)
        let bytes = try Narrow.bytes(values, dtype: dtype)
        let (stream, statistics) = try codec.encode(bytes: bytes)
        let decoded = try codec.decode(bytes: stream)
        let worst =
          zip(Narrow.values(bytes, dtype: dtype), Narrow.values(decoded, dtype: dtype))
          .map { abs($0 - $1) }.max() ?? 0
        #expect(statistics.maxAbsError == worst)
        #expect(statistics.guaranteedMaxAbsError >= worst, "\(rounding) \(dtype)")
        #expect(statistics.guaranteedMaxAbsError.isFinite)
      }
    }
  }
}

@Suite("Statistics")
struct StatisticsTests {
  @Test("Sums are sixteen partial sums a chunk, added as a tree, chunks in order")
  func order() throws {
    let count = 262_144 + 1000
    let values = moments(count: count, signed: true, seed: 13)
    let scheme = Scheme(map: .normal, bits: 4, signed: true, scaling: .block(64))
    let codec = try TensorCodec(dtype: .f32, shape: [UInt64(count)], scheme: scheme)
    let (stream, statistics) = try codec.encode(values)
    let decoded = try codec.decode(stream)
    var (error, source) = (0.0, 0.0)
    for chunk in [0..<262_144, 262_144..<count] {
      error += Self.sum(chunk) { Double(values[$0]) - Double(decoded[$0]) }
      source += Self.sum(chunk) { Double(values[$0]) }
    }
    #expect(statistics.squaredError == error)
    #expect(statistics.squaredSource == source)
    #expect(statistics.relativeL2Error == (error / source).squareRoot())
  }

  private static func sum(_ range: Range<Int>, _ term: (Int) -> Double) -> Double {
    var partial = [Double](repeating: 0, count: 16)
    for index in range { partial[(index - range.lowerBound) % 16] += term(index) * term(index) }
    while partial.count > 1 {
      partial = stride(from: 0, to: partial.count, by: 2).map { partial[$0] + partial[$0 + 1] }
    }
    return partial[0]
  }
}
