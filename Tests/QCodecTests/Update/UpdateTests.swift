import Testing

@testable import QCodec

@Suite("The update domain")
struct UpdateTests {
  static let scalings: [Scheme.Scaling] = [.tensor, .block(32), .row, .column, .rank1]

  @Test("Every map and scaling is that of the definition", arguments: signedMaps, scalings)
  func definition(map: (map: Scheme.Map, bits: Int), scaling: Scheme.Scaling) throws {
    let seed: UInt64 = 51
    // Of 65 by 66 elements rank1 has 131 maxima, of one in 32 at most.
    let (m, v) = adamMoments(65 * 66, seed: seed, exponents: -8...3)
    let scheme = updateScheme(map.map, map.bits, scaling)
    let codec = try MomentCodec(shape: [65, 66], first: scheme, second: logScheme(4, block: 64))
    #expect(codec.first.scheme.scaling == scaling)
    let (first, second) = try codec.encode(first: m, second: v)
    let decoded = try codec.decodeFirst(first, second: second)
    let reference = try UpdateReference(
      m, second: codec.second.decode(second), scheme: scheme, shape: [65, 66])
    for index in m.indices {
      let wanted = reference.value(index)
      guard decoded[index].bitPattern == wanted.bitPattern else {
        Issue.record("element \(index): \(m[index]) decodes to \(decoded[index]), not \(wanted), seed \(seed)")
        break
      }
    }
  }

  @Test(
    "Bounds hold for every map, rounding and dtype, absolutely and relative to √v̂",
    arguments: signedMaps, [Scheme.Rounding.nearest, .nearestKeepNonzero, .stochastic])
  func bounds(map: (map: Scheme.Map, bits: Int), rounding: Scheme.Rounding) throws {
    let seed: UInt64 = 52
    for dtype in [DType.f32, .bf16, .f16] {
      for (index, scaling) in Self.scalings.enumerated() {
        let (m, v) = adamMoments(65 * 66, seed: seed + UInt64(index), exponents: -9...4)
        let scheme = updateScheme(map.map, map.bits, scaling, rounding: rounding, seed: rounding == .stochastic ? 3 : 0)
        let second =
          index % 2 == 0
          ? logScheme(map.bits, block: 64)
          : Scheme(
            map: .linearNoZero, bits: map.bits, signed: false, scaling: .row)
        let codec = try MomentCodec(dtype: dtype, secondDType: .f32, shape: [65, 66], first: scheme, second: second)
        let bytes = try Narrow.bytes(m, dtype: dtype)
        let streams = try codec.encode(bytes: bytes, second: Narrow.bytes(v, dtype: .f32))
        let exact = Narrow.values(bytes, dtype: dtype)
        let decoded = Narrow.values(try codec.decode(bytes: streams.first, second: streams.second), dtype: dtype)
        let divisors = try codec.second.decode(streams.second).map { $0 > 0 ? Double($0.squareRoot()) : 1 }
        var (absolute, relative) = (0.0, 0.0)
        for i in exact.indices {
          absolute = max(absolute, (exact[i] - decoded[i]).magnitude)
          relative = max(relative, (exact[i] - decoded[i]).magnitude / divisors[i])
        }
        let statistics = streams.statistics
        let what = "\(map.map.name) \(map.bits) \(scaling.name) \(dtype.name), seed \(seed + UInt64(index))"
        #expect(absolute == statistics.maxAbsError, "\(what)")
        #expect(absolute <= statistics.guaranteedMaxAbsError, "\(what)")
        #expect(relative <= statistics.guaranteedMaxRelError, "\(what)")
        #expect(codec.first.scheme.scaling == scaling)
        // A bound that nothing comes near would say little; the widest cell under the largest scale may be empty.
        #expect(relative > 0.125 * statistics.guaranteedMaxRelError, "\(what)")
      }
    }
  }

  @Test("Where v̂ is 0 the first moment is divided by 1")
  func zeroSecond() throws {
    let codec = try MomentCodec(shape: [4], first: updateScheme(.linear, 8), second: logScheme(8))
    let (first, second) = try codec.encode(first: [127, -64, 1, 0], second: [0, 0, 0, 0])
    #expect(first == littleEndian(Float(127).bitPattern) + [254, 63, 128, 127])
    #expect(try codec.decodeFirst(first, second: second) == [127, -64, 1, 0])
    // Beside others: u is 127/127, −64, 1/0.5.
    let mixed = try codec.encode(first: [127, -64, 1, 0], second: [127 * 127, 0, 0.25, 4])
    #expect(Array(mixed.first[..<4]) == littleEndian(Float(64).bitPattern))
    #expect(try codec.decodeFirst(mixed.first, second: mixed.second)[1] == -64)
  }

  @Test("The divisor is what the second moment decodes to before conversion to its dtype")
  func divisorBeforeConversion() throws {
    // 0.3 and 1 in bfloat16; what lies between decodes to a float that bfloat16 lacks.
    let v: [Float] = (0..<32).map { Float(bitPattern: (0x3E9A + UInt32($0) * 7) << 16) }
    let m = v.map { $0.squareRoot() * 0.5 }
    let codec = try MomentCodec(
      secondDType: .bf16, shape: [32], first: updateScheme(.normal, 4), second: logScheme(4))
    let streams = try codec.encode(
      bytes: Narrow.bytes(m, dtype: .f32), second: Narrow.bytes(v, dtype: .bf16))
    let block = LogReference(v, bits: 4)
    let exact = v.map { block.value(block.code($0)) }
    #expect(exact.contains { $0.bitPattern & 0xFFFF != 0 })
    let reference = try UpdateReference(m, second: exact, scheme: updateScheme(.normal, 4), shape: [32])
    let decoded = try codec.decode(bytes: streams.first, second: streams.second)
    #expect(decoded == (0..<32).flatMap { littleEndian(reference.value($0).bitPattern) })
  }

  @Test("Zero gives +0 under maps with a zero; signs are kept", arguments: signedMaps)
  func zerosAndSigns(map: Scheme.Map, bits: Int) throws {
    let seed: UInt64 = 53
    let (m, v) = adamMoments(4096, seed: seed)
    let codec = try MomentCodec(shape: [4096], first: updateScheme(map, bits), second: logScheme(8))
    let (first, second) = try codec.encode(first: m, second: v)
    let decoded = try codec.decodeFirst(first, second: second)
    let hasZero = try #require(codec.first.table).entries.contains(0)
    for (value, result) in zip(m, decoded) {
      if value == 0, hasZero { #expect(result.bitPattern == 0) }
      if value != 0, result != 0 { #expect((value < 0) == (result < 0)) }
      if value != 0, !hasZero { #expect(result != 0) }
    }
  }
}
