@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

let log8 = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
let log4 = Scheme(map: .log, bits: 4, signed: false, scaling: .block(256))

/// A scheme of the update domain.
func updateScheme(
  _ map: Scheme.Map = .linear, _ bits: Int = 8, _ scaling: Scheme.Scaling = .block(64),
  rounding: Scheme.Rounding = .nearest
) -> Scheme {
  Scheme(
    map: map, bits: bits, signed: true, scaling: scaling, domain: .update, rounding: rounding,
    seed: rounding == .stochastic ? 5 : 0)
}

/// Second moments and first moments that are a multiple of their roots, which the dtypes hold exactly.
func pairValues(_ count: Int, dtype: DType = .f32, seed: UInt64) -> (m: [Float], v: [Float]) {
  var generator = SeededGenerator(seed: seed)
  var (m, v): ([Float], [Float]) = ([], [])
  for index in 0..<count {
    let root = Float(sign: .plus, exponent: Int.random(in: -7...3, using: &generator), significand: 1)
    let value = root * Float.random(in: 1..<1.5, using: &generator)
    v.append(index % 19 == 4 ? 0 : Narrow.nearest(value * value, dtype: dtype))
    m.append(index % 23 == 6 ? 0 : Narrow.nearest(value * Float.random(in: -1...1, using: &generator), dtype: dtype))
  }
  return (m, v)
}

/// A first and a second moment as samples.
struct PairSample {
  var first: Sample
  var second: Sample

  init(
    _ values: (m: [Float], v: [Float]), prefix name: String = "", shape: [UInt64]? = nil, dtype: DType = .f32,
    first: Scheme = updateScheme(), second: Scheme = log8
  ) {
    self.first = Sample(name + "exp_avg", dtype: dtype, shape: shape, values.m, scheme: first)
    self.second = Sample(name + "exp_avg_sq", dtype: dtype, shape: shape, values.v, scheme: second)
  }

  var samples: [Sample] { [first, second] }
}

/// The bytes of a checkpoint of pairs in the update domain, then others, chunks stored plain.
func pairFile(_ pairs: [PairSample], others: [Sample] = []) throws -> [UInt8] {
  try checkpointBytes { writer in
    for pair in pairs {
      func moment(_ sample: Sample, _ role: Role) -> NewTensor {
        NewTensor(
          name: sample.name, dtype: sample.dtype, role: role,
          encoding: sample.scheme.map { .quantized($0) } ?? .lossless(reason: .none),
          source: MemorySource(bytes: sample.bytes))
      }
      try writer.addPair(
        first: moment(pair.first, .firstMoment), second: moment(pair.second, .secondMoment), shape: pair.first.shape)
    }
    for sample in others {
      try writer.add(
        name: sample.name, dtype: sample.dtype, shape: sample.shape,
        role: Role.recognize(name: sample.name, among: others.map(\.name)),
        encoding: sample.scheme.map { .quantized($0) } ?? .lossless(reason: .none),
        source: MemorySource(bytes: sample.bytes))
    }
  }
}
