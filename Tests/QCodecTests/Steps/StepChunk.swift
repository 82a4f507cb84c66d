import Testing

@testable import QCodec

/// A tensor of one chunk that is encoded with a step.
struct StepChunk {
  let layout: TensorLayout
  let step: EncodingStep
  let bytes: [UInt8]
  var divisors: [Float] = []

  init(
    _ values: [Float], _ scheme: Scheme, step: EncodingStep, dtype: DType = .f32, divisors: [Float] = []
  ) throws {
    layout = try TensorLayout(dtype: dtype, shape: [UInt64(values.count)], scheme: scheme)
    self.step = step
    bytes = try Narrow.bytes(values, dtype: dtype)
    self.divisors = divisors
  }

  struct Result: Equatable {
    var payload: [UInt8]
    var statistics: TensorStatistics
  }

  func scales(_ level: KernelLevel) throws -> [Float] {
    guard ScalePass.isNeeded(for: layout) else { return [] }
    let pass = ScalePass(layout: layout, kernels: level)
    try unsafe bytes.withUnsafeBytes { try unsafe pass.accumulate(chunk: 0, source: $0, divisors: divisors) }
    return pass.finish(step: step)
  }

  func encode(_ level: KernelLevel = .scalar) throws -> Result {
    let encoder = try ChunkEncoder(layout: layout, name: "x", scales: scales(level), step: step, kernels: level)
    var payload = [UInt8](repeating: 0xAA, count: layout.payloadByteCount(ofChunk: 0))
    let statistics = try unsafe bytes.withUnsafeBytes { source in
      try unsafe payload.withUnsafeMutableBytes {
        try unsafe encoder.encode(chunk: 0, source: source, divisors: divisors, into: $0)
      }
    }
    return Result(payload: payload, statistics: statistics)
  }

  func decode(_ result: Result) throws -> [Float] {
    let decoder = try ChunkDecoder(layout: layout, scales: scales(.scalar), kernels: .scalar)
    var values = [UInt8](repeating: 0, count: bytes.count)
    try unsafe result.payload.withUnsafeBytes { payload in
      try unsafe values.withUnsafeMutableBytes { target in
        try unsafe decoder.decode(
          chunk: 0, payload: payload, elements: 0..<Int(layout.elementCount), divisors: divisors, into: target)
      }
    }
    return Narrow.values(values, dtype: layout.dtype).map(Float.init)
  }

  /// The floats that the payload begins with.
  func floats(_ result: Result) -> [Float] {
    (0..<layout.blockByteCount(elements: Int(layout.elementCount)) / 4).map { index in
      unsafe result.payload.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: index * 4, as: Float.self) }
    }
  }
}

func linearScheme(_ scaling: Scheme.Scaling = .block(64), bits: Int = 8, domain: Scheme.Domain = .value) -> Scheme {
  Scheme(map: .linear, bits: bits, signed: true, scaling: scaling, domain: domain)
}
