import Testing

@testable import QCodec

/// Pairs of the update domain whose updates keep a bound.
@Suite("Escapes of pairs")
struct PairEscapeTests {
  private struct Pair {
    let m: [Float]
    let v: [Float]
    let first: ChunkEncoder
    let second: ChunkEncoder
  }

  /// Moments of all sizes: second moments of 0 beside first ones that are not, updates far above 1.
  private static func pair(_ second: Scheme, _ dtypes: (DType, DType), scale: Float) throws -> Pair {
    let count = 3000
    var m = moments(count: count, signed: true, seed: 11)
    var v = moments(count: count, signed: false, seed: 12).map { $0 * $0 }
    (m[0], v[0], m[1], v[1], m[2], v[2], m[3], v[3]) = (1e-3, 0, 0, 1, -2, 1e-12, 0, 0)
    (m, v) = (dtypes.0.rounded(m), dtypes.1.rounded(v))
    var schemes = (Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor, domain: .update), second)
    (schemes.0.hasEscapes, schemes.1.hasEscapes) = (true, true)
    let layouts = try (
      TensorLayout(dtype: dtypes.0, shape: [3000], scheme: schemes.0),
      TensorLayout(dtype: dtypes.1, shape: [3000], scheme: schemes.1)
    )
    let scales = layouts.1.scaleCount == 1 ? [v.max() ?? 0] : []
    return try Pair(
      m: m, v: v, first: ChunkEncoder(layout: layouts.0, name: "m", scales: [scale]),
      second: ChunkEncoder(layout: layouts.1, name: "v", scales: scales))
  }

  private static let seconds = [
    Scheme(map: .log, bits: 8, signed: false, scaling: .block(64)),
    Scheme(map: .log, bits: 4, signed: false, scaling: .block(64)),
    Scheme(map: .linear, bits: 8, signed: false, scaling: .tensor),
    Scheme(map: .dynamic, bits: 4, signed: false, scaling: .block(64)),
  ]

  @Test("Every update keeps its bound", arguments: seconds)
  func everyUpdate(_ second: Scheme) throws {
    for dtypes in [(DType.f32, DType.f32), (.bf16, .f32), (.f32, .bf16)] {
      for (limit, epsilon) in [(0.2, 1e-8), (1e-3, 1e-8), (0.05, 0.0), (1e-9, 1e-3)] {
        let pair = try Self.pair(second, dtypes, scale: 12.5)
        let bound = UpdateBound(limit: limit, epsilon: epsilon, secondShare: 0.5)
        let encoder = try BoundedPairEncoder(first: pair.first, second: pair.second, bound: bound)
        let (m, v) = (dtypes.0.bytes(pair.m), dtypes.1.bytes(pair.v))
        let made = try unsafe m.withBytes { m throws(QCodecError) in
          try unsafe v.withBytes { v throws(QCodecError) in
            try unsafe encoder.encode(chunk: 0, first: m, second: v, epsilon: epsilon)
          }
        }
        let worst = try #require(made.outcome.update).maxAbsError
        // Without ε an update beside a second moment of zero is infinite, exact or not.
        #expect(worst <= limit || epsilon == 0, "\(second.map.name) \(dtypes)")
        try expectDecoded(made, pair, bound)
      }
    }
  }

  /// Decoders of every level agree, together and alone, and keep the bound.
  private func expectDecoded(_ made: BoundedPairEncoder.Chunk, _ pair: Pair, _ bound: UpdateBound) throws {
    var results: [[UInt8]] = []
    for level in [KernelLevel.scalar, .selected] {
      let decoder = try PairDecoder(
        first: ChunkDecoder(layout: pair.first.layout, scales: pair.first.scales, kernels: level),
        second: ChunkDecoder(layout: pair.second.layout, scales: pair.second.scales, kernels: level))
      var first = [UInt8](repeating: 0, count: pair.first.layout.sourceByteCount(ofChunk: 0))
      var second = [UInt8](repeating: 0, count: pair.second.layout.sourceByteCount(ofChunk: 0))
      try unsafe made.first.withBytes { m throws(QCodecError) in
        try unsafe made.second.withBytes { v throws(QCodecError) in
          try unsafe first.withMutableBytes { target throws(QCodecError) in
            try unsafe second.withMutableBytes { other throws(QCodecError) in
              try unsafe decoder.decode(chunk: 0, first: m, second: v, into: target, other)
            }
          }
        }
      }
      results.append(first + second)
      let (m, v) = unsafe (
        first.withBytes { unsafe pair.first.layout.dtype.floats($0) },
        second.withBytes { unsafe pair.second.layout.dtype.floats($0) }
      )
      for index in m.indices {
        let exact = bound.update(Double(pair.m[index]), Double(pair.v[index]))
        let decoded = bound.update(Double(m[index]), Double(v[index]))
        // 0/0 is 0 on either side.
        let error = exact == decoded ? 0 : (exact - decoded).magnitude
        #expect(error <= bound.limit, "element \(index)")
      }
    }
    #expect(results[0] == results[1])
  }

  @Test("Blocks of a pair whose second moment has escapes decode as the reference does")
  func fused() throws {
    let count = 1000
    let (m, v) = (moments(count: count, signed: true, seed: 5), moments(count: count, signed: false, seed: 6))
    var first = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(64), domain: .update)
    var second = Scheme(map: .log, bits: 4, signed: false, scaling: .block(64))
    (first.hasEscapes, second.hasEscapes) = (true, true)
    let layouts = try (
      TensorLayout(dtype: .f32, shape: [1000], scheme: first), TensorLayout(dtype: .f32, shape: [1000], scheme: second)
    )
    let pair = try Pair(
      m: m, v: v, first: ChunkEncoder(layout: layouts.0, name: "m", scales: []),
      second: ChunkEncoder(layout: layouts.1, name: "v", scales: []))
    // With a share of nearly all no second moment is escaped, with little most are.
    for share in [0.999, 0.01] {
      let bound = UpdateBound(limit: 0.5, secondShare: share)
      let encoder = try BoundedPairEncoder(first: pair.first, second: pair.second, bound: bound)
      let made = try unsafe DType.f32.bytes(m).withBytes { m throws(QCodecError) in
        try unsafe DType.f32.bytes(v).withBytes { v throws(QCodecError) in
          try unsafe encoder.encode(chunk: 0, first: m, second: v, epsilon: nil)
        }
      }
      try expectDecoded(made, pair, bound)
    }
  }
}
