import CQCodecKernels
import Testing

@testable import QCodec

@Suite("The update domain: cycles, threads, slices and environments")
struct UpdateCycleTests {
  /// What the design promises: maps with −1 under every scaling, others with their signed extreme but under rank1.
  private static var promised: [(first: Scheme, second: Scheme)] {
    var result = adamSchemes
    for (map, bits) in signedMaps {
      for scaling in UpdateTests.scalings where scaling != .rank1 || (map != .dynamic && map != .cubic) {
        result.append((updateScheme(map, bits, scaling), logScheme(bits, block: 64)))
      }
    }
    return result
  }

  @Test("Saving what was loaded changes neither codes nor values over 100 cycles", arguments: promised)
  func idempotent(first: Scheme, second: Scheme) throws {
    for seed in [54, 55] as [UInt64] {
      // No quotient, scale or value is subnormal.
      // rank1 has a maximum for 32 elements at most.
      let (rows, columns) = first.scaling == .rank1 ? (65, 66) : (33, 35)
      let (m, v) = adamMoments(rows * columns, seed: seed, exponents: seed == 54 ? -60 ... -4 : -3...50)
      let codec = try MomentCodec(shape: [UInt64(rows), UInt64(columns)], first: first, second: second)
      #expect(codec.first.scheme.scaling == first.scaling)
      let streams = try codec.encode(first: m, second: v)
      let values = (
        try codec.decodeFirst(streams.first, second: streams.second), try codec.second.decode(streams.second)
      )
      var current = values
      for cycle in 1...100 {
        let next = try codec.encode(first: current.0, second: current.1)
        current = (try codec.decodeFirst(next.first, second: next.second), try codec.second.decode(next.second))
        guard next == streams, current == values else {
          let changed = zip(current.0, values.0).count { $0 != $1 }
          Issue.record("cycle \(cycle), seed \(seed): \(changed) values changed")
          break
        }
      }
    }
  }

  @Test("Equal bytes and statistics over 1, 2 and 7 threads", arguments: adamSchemes)
  func threads(first: Scheme, second: Scheme) throws {
    let (m, v) = adamMoments(1000 * 300, seed: 56)
    for scaling in [first.scaling, .column] {
      var scheme = first
      scheme.scaling = scaling
      let codec = try MomentCodec(shape: [1000, 300], first: scheme, second: second)
      let bytes = (try Narrow.bytes(m, dtype: .f32), try Narrow.bytes(v, dtype: .f32))
      let one = try codec.encode(bytes: bytes.0, second: bytes.1)
      let decoded = try codec.decode(bytes: one.first, second: one.second)
      for threads in [2, 7] {
        let other = try codec.encode(bytes: bytes.0, second: bytes.1, threads: threads)
        #expect(other.first == one.first && other.second == one.second && other.statistics == one.statistics)
        #expect(try codec.decode(bytes: one.first, second: one.second, threads: threads) == decoded)
      }
      // Row 873 ends, and row 874 begins, with a chunk but for 262 elements.
      for rows in [0..<1, 0..<1000, 7..<7, 872..<876, 873..<874, 999..<1000] as [Range<UInt64>] {
        let part = try codec.decode(bytes: one.first, second: one.second, rows: rows, threads: 2)
        #expect(part == Array(decoded[Int(rows.lowerBound) * 1200..<Int(rows.upperBound) * 1200]), "\(rows)")
      }
    }
  }

  @Test("A code depends on its own block and on the second moment's block", arguments: adamSchemes)
  func locality(first: Scheme, second: Scheme) throws {
    let (m, v) = adamMoments(1024, seed: 57)
    let codec = try MomentCodec(shape: [1024], first: first, second: second)
    let whole = try codec.encode(first: m, second: v)
    let decoded = try codec.decodeFirst(whole.first, second: whole.second)
    var (otherM, otherV) = (m, v)
    for index in 512..<1024 { (otherM[index], otherV[index]) = (m[1023 - index] * 3, v[1023 - index] * 7) }
    let changed = try codec.encode(first: otherM, second: otherV)
    let other = try codec.decodeFirst(changed.first, second: changed.second)
    #expect(Array(other[..<512]) == Array(decoded[..<512]) && other != decoded)
  }

  @Test("Stochastic rounding follows seed, name and index")
  func stochastic() throws {
    let (m, v) = adamMoments(5000, seed: 58)
    let bytes = (try Narrow.bytes(m, dtype: .f32), try Narrow.bytes(v, dtype: .f32))
    func stream(_ seed: UInt64, _ name: String, threads: Int = 1) throws -> [UInt8] {
      let scheme = updateScheme(.linear, 8, rounding: .stochastic, seed: seed)
      return try MomentCodec(shape: [5000], first: scheme, second: logScheme(8))
        .encode(bytes: bytes.0, second: bytes.1, names: (name, "v"), threads: threads).first
    }
    let one = try stream(1, "m")
    #expect(try stream(1, "m", threads: 7) == one)
    #expect(try stream(2, "m") != one)
    #expect(try stream(1, "n") != one)
  }

  @Test("Equal in every environment, which is restored", arguments: adamSchemes)
  func environments(first: Scheme, second: Scheme) throws {
    // Subnormal second moments, quotients and scales among others.
    let seed: UInt64 = 59
    let (m, v) = adamMoments(4096, seed: seed, exponents: -74...3)
    for dtype in [DType.f32, .bf16, .f16] {
      let bytes = (try Narrow.bytes(m, dtype: dtype), try Narrow.bytes(v, dtype: .f32))
      let codec = try MomentCodec(dtype: dtype, shape: [4096], first: first, second: second)
      let expected = try codec.encode(bytes: bytes.0, second: bytes.1)
      let decoded = try codec.decode(bytes: expected.first, second: expected.second)
      for mode in Int32(1)...4 {
        for threads in [1, 2] {
          let saved = qcodec_environment_enter()
          qcodec_environment_simulate(mode)
          let before = qcodec_environment_current()
          let encoded = try? codec.encode(bytes: bytes.0, second: bytes.1, threads: threads)
          let restored = try? codec.decode(bytes: expected.first, second: expected.second, threads: threads)
          let after = qcodec_environment_current()
          qcodec_environment_leave(saved)
          #expect(encoded?.first == expected.first && encoded?.second == expected.second, "mode \(mode)")
          #expect(encoded?.statistics == expected.statistics && restored == decoded && before == after, "mode \(mode)")
        }
      }
    }
  }
}
