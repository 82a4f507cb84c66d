import Testing

@testable import QCodec

@Suite("Steps: every kernel equals the reference")
struct StepKernelTests {
  static let levels = KernelLevel.allCases.filter { $0 != .scalar && $0.isSupported }

  @Test("Tables and the log map, with steps of every size", arguments: levels)
  func chunks(_ level: KernelLevel) throws {
    for scaling in [Scheme.Scaling.block(32), .block(256), .block(4096), .tensor] {
      for domain in [Scheme.Domain.value, .update] {
        for bits in [8, 4] {
          for dtype in [DType.f32, .bf16, .f16] {
            try linear(linearScheme(scaling, bits: bits, domain: domain), dtype, level)
          }
        }
      }
    }
    for block in [32, 512, 4096] {
      for bits in [8, 4] {
        for dtype in [DType.f32, .bf16, .f16] { try log(logScheme(bits, block: block), dtype, level) }
      }
    }
  }

  private func linear(_ scheme: Scheme, _ dtype: DType, _ level: KernelLevel) throws {
    let (m, v) = adamMoments(3001, seed: 86, exponents: dtype == .f16 ? -12...1 : -40...3)
    let divisors = scheme.domain == .update ? v.map { $0 > 0 ? $0.squareRoot() : 1 } : []
    for step in [1e-9, 1e-3, 0.04, 3] {
      for excess in [EncodingStep.Excess.widens, .clamps] {
        let chunk = try StepChunk(
          m, scheme, step: .init(linear: step, scheme: scheme, dtype: dtype, beyond: excess), dtype: dtype,
          divisors: divisors)
        #expect(try chunk.encode(level) == chunk.encode(), "\(level.name) \(scheme) \(dtype.name) \(step) \(excess)")
      }
    }
  }

  private func log(_ scheme: Scheme, _ dtype: DType, _ level: KernelLevel) throws {
    let values = moments(count: 9001, signed: false, seed: 87)
    let held = Narrow.values(try Narrow.bytes(values, dtype: dtype), dtype: dtype)
    let least = Float(try #require(held.filter { $0 > 0 }.min()))
    for octaves in [1e-6, 0.02, 0.1, 0.62, 1, 8] {
      let step = EncodingStep(octaves: octaves, least: least, scheme: scheme, dtype: dtype)
      let chunk = try StepChunk(values, scheme, step: step, dtype: dtype)
      #expect(try chunk.encode(level) == chunk.encode(), "\(level.name) \(scheme) \(dtype.name) \(octaves)")
    }
  }

  @Test("Both moments in one call", arguments: KernelLevel.allCases.filter(\.isSupported))
  func pairs(_ level: KernelLevel) throws {
    let (m, v) = adamMoments(5000, seed: 88)
    let (first, second) = (linearScheme(.block(256), domain: .update), logScheme(8, block: 512))
    let least = try #require(v.filter { $0 > 0 }.min())
    let steps = (
      EncodingStep(linear: 0.07, scheme: first, dtype: .f32),
      EncodingStep(octaves: 0.5, least: least, scheme: second, dtype: .f32)
    )
    let own = try StepChunk(v, second, step: steps.1)
    let expected = try own.encode()
    let divisors = try own.decode(expected).map { $0 > 0 ? $0.squareRoot() : 1 }
    let expectedFirst = try StepChunk(m, first, step: steps.0, divisors: divisors).encode()
    let encoder = try PairEncoder(
      first: ChunkEncoder(
        layout: TensorLayout(dtype: .f32, shape: [5000], scheme: first), name: "m", scales: [], step: steps.0,
        kernels: level),
      second: ChunkEncoder(layout: own.layout, name: "v", scales: [], step: steps.1, kernels: level))
    var payloads = (
      [UInt8](repeating: 0, count: expectedFirst.payload.count), [UInt8](repeating: 0, count: expected.payload.count)
    )
    let bytes = try Narrow.bytes(m, dtype: .f32)
    let outcome = try unsafe bytes.withUnsafeBytes { m in
      try unsafe own.bytes.withUnsafeBytes { v in
        try unsafe payloads.0.withUnsafeMutableBytes { first in
          try unsafe payloads.1.withUnsafeMutableBytes { second in
            try unsafe encoder.encode(chunk: 0, first: m, second: v, into: first, second, epsilon: 1e-8)
          }
        }
      }
    }
    #expect(payloads.0 == expectedFirst.payload && payloads.1 == expected.payload)
    #expect(outcome.first == expectedFirst.statistics && outcome.second == expected.statistics)
  }
}
