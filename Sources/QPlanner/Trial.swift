import QCheckpoint
import QCodec

/// A chunk of a unit stored in one way. In blocks, whose codes depend on the chunk alone, it is a tensor of its own.
struct Trial {
  let unit: PlanUnit
  let candidate: PlanCandidate
  let epsilon: Double
  let compression: Compression
  /// The least element of the whole second moment that is not zero.
  let least: Float

  init(
    _ unit: PlanUnit, _ candidate: PlanCandidate, epsilon: Double, _ compression: Compression,
    least: Float = .infinity
  ) {
    (self.unit, self.candidate, self.epsilon, self.compression) = (unit, candidate, epsilon, compression)
    self.least = least
  }

  /// What the way does to a chunk; nil where it cannot hold it.
  func outcome(_ moments: ChunkMoments) throws(QCodecError) -> UnitMeasurer.Outcome? {
    do throws(QCodecError) { return try run(moments) } catch {
      switch error.code {
      // What no scheme holds is stored lossless.
      case .nonFiniteValue, .negativeValue, .updateNotFinite: return nil
      default: throw error
      }
    }
  }

  private func run(_ moments: ChunkMoments) throws(QCodecError) -> UnitMeasurer.Outcome {
    var outcome = UnitMeasurer.Outcome()
    if let scheme = candidate.first, scheme.domain == .update, let second = candidate.second {
      try pair(scheme, second, moments, &outcome)
      return outcome
    }
    let m = try unit.first.map { tensor throws(QCodecError) in
      try single(tensor, candidate.first, candidate.firstStep, moments.m, moments.count, &outcome.storedBytes)
    }
    let v = try unit.second.map { tensor throws(QCodecError) in
      try single(tensor, candidate.second, candidate.secondStep, moments.v, moments.count, &outcome.storedBytes)
    }
    (outcome.first, outcome.second) = (m?.statistics, v?.statistics)
    if let first = unit.first, let second = unit.second, let m, let v {
      let own = (moments.m.floats(first.dtype), moments.v.floats(second.dtype))
      let decoded = (m.bytes.floats(first.dtype), v.bytes.floats(second.dtype))
      outcome.update = UpdateError(epsilon: epsilon, count: moments.count) { i in
        (Double(own.0[i]), Double(own.1[i]), Double(decoded.0[i]), Double(decoded.1[i]))
      }
    }
    return outcome
  }

  private func layout(_ tensor: InputTensor?, _ scheme: Scheme, _ count: Int) throws(QCodecError) -> TensorLayout {
    try TensorLayout(dtype: tensor?.dtype ?? .f32, shape: [UInt64(count)], scheme: scheme)
  }

  private func pair(
    _ first: Scheme, _ second: Scheme, _ moments: ChunkMoments, _ outcome: inout UnitMeasurer.Outcome
  ) throws(QCodecError) {
    let layouts = (try layout(unit.first, first, moments.count), try layout(unit.second, second, moments.count))
    let encoder = try PairEncoder(
      first: ChunkEncoder(layout: layouts.0, name: "m", scales: [], step: step(candidate.firstStep, layouts.0)),
      second: ChunkEncoder(layout: layouts.1, name: "v", scales: [], step: step(candidate.secondStep, layouts.1)))
    var payload = [UInt8](repeating: 0, count: layouts.0.payloadByteCount(ofChunk: 0))
    var other = [UInt8](repeating: 0, count: layouts.1.payloadByteCount(ofChunk: 0))
    let found = try unsafe moments.m.withBytes { m throws(QCodecError) in
      try unsafe moments.v.withBytes { v throws(QCodecError) in
        try unsafe payload.withMutableBytes { payload throws(QCodecError) in
          try unsafe other.withMutableBytes { other throws(QCodecError) in
            try unsafe encoder.encode(chunk: 0, first: m, second: v, into: payload, other, epsilon: epsilon)
          }
        }
      }
    }
    (outcome.first, outcome.second, outcome.update) = (found.first, found.second, found.update)
    outcome.storedBytes = try compression.storedByteCount(payload) + compression.storedByteCount(other)
  }

  /// Steps of the way are numbers already, or in octaves.
  private func step(_ step: QuantizationStep?, _ layout: TensorLayout) -> EncodingStep {
    EncodingStep(step, scheme: layout.scheme, dtype: layout.dtype, squares: SquareSum(), least: least)
  }

  /// A tensor alone: its statistics, and what it decodes to.
  private func single(
    _ tensor: InputTensor, _ scheme: Scheme?, _ own: QuantizationStep?, _ source: [UInt8], _ count: Int,
    _ storedBytes: inout Int
  ) throws(QCodecError) -> (statistics: TensorStatistics, bytes: [UInt8]) {
    guard let scheme else {
      storedBytes += try compression.storedByteCount(source, elementSize: tensor.dtype.bitWidth / 8)
      return (TensorStatistics(), source)
    }
    let layout = try layout(tensor, scheme, count)
    var payload = [UInt8](repeating: 0, count: layout.payloadByteCount(ofChunk: 0))
    let encoder = try ChunkEncoder(layout: layout, name: tensor.name, scales: [], step: step(own, layout))
    let statistics = try unsafe source.withBytes { source throws(QCodecError) in
      try unsafe payload.withMutableBytes { payload throws(QCodecError) in
        try unsafe encoder.encode(chunk: 0, source: source, into: payload)
      }
    }
    storedBytes += try compression.storedByteCount(payload)
    var decoded = [UInt8](repeating: 0, count: source.count)
    let decoder = try ChunkDecoder(layout: layout, scales: [])
    try unsafe payload.withBytes { payload throws(QCodecError) in
      try unsafe decoded.withMutableBytes { decoded throws(QCodecError) in
        try unsafe decoder.decode(chunk: 0, payload: payload, into: decoded)
      }
    }
    return (statistics, decoded)
  }
}
