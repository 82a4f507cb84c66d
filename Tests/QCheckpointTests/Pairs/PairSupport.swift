import QCodec
import Testing

@testable import QCheckpoint

/// Second moments and first moments that are a multiple of their roots; some of both zero.
func pairValues(_ count: Int, seed: UInt64) -> (m: [Float], v: [Float]) {
  var generator = SeededGenerator(seed: seed)
  var (m, v): ([Float], [Float]) = ([], [])
  for _ in 0..<count {
    let bits = generator.next()
    let root = Float(sign: .plus, exponent: -3 - Int(bits >> 8 & 15), significand: 1 + Float(bits >> 20 & 0xFF) / 256)
    v.append(bits & 15 == 0 ? 0 : root * root)
    m.append(bits & 0xF0 == 0 ? 0 : root * (Float(bits >> 40 & 0xFFFF) / 32_768 - 1))
  }
  return (m, v)
}

/// A scheme of the update domain.
func updateScheme(_ scaling: Scheme.Scaling = .block(256), map: Scheme.Map = .linear, bits: Int = 8) -> Scheme {
  Scheme(map: map, bits: bits, signed: true, scaling: scaling, domain: .update)
}

let log8 = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
let log4 = Scheme(map: .log, bits: 4, signed: false, scaling: .block(256))

/// A pair to be added: "m" and "v" unless named otherwise.
struct Pair: Sendable {
  var names = (first: "m", second: "v")
  var shape: [UInt64]
  var m: [UInt8]
  var v: [UInt8]
  var dtypes = (first: DType.f32, second: DType.f32)
  var first = Encoding.quantized(updateScheme())
  var second = Encoding.quantized(log8)
  var negativeFallsBack = false
  var fallback: Scheme?
  var nonFinite = NonFinitePolicy.error
  var epsilon: Double?
  var step: QuantizationStep?
  var secondStep: QuantizationStep?

  /// A pair of f32 moments.
  init(_ m: [Float], _ v: [Float], shape: [UInt64]? = nil) {
    self.shape = shape ?? [UInt64(m.count)]
    (self.m, self.v) = (littleEndian(floats: m), littleEndian(floats: v))
  }

  /// A pair of some values.
  init(shape: [UInt64], seed: UInt64) {
    let values = pairValues(Int(shape.reduce(1, *)), seed: seed)
    self.init(values.m, values.v, shape: shape)
  }

  func with(_ change: (inout Pair) -> Void) -> Pair {
    var copy = self
    change(&copy)
    return copy
  }

  func add(to writer: CheckpointWriter) throws(QCodecError) {
    try writer.addPair(
      first: NewTensor(
        name: names.first, dtype: dtypes.first, role: .firstMoment, encoding: first, step: step,
        source: MemorySource(bytes: m)),
      second: NewTensor(
        name: names.second, dtype: dtypes.second, role: .secondMoment, encoding: second,
        negativeFallsBack: negativeFallsBack, step: secondStep, source: MemorySource(bytes: v)),
      shape: shape, fallback: fallback, nonFinite: nonFinite, measuring: epsilon)
  }

  /// A checkpoint of this pair, between neighbours.
  func file(_ options: WriterOptions = .init(compression: .none, threads: 2)) throws -> [UInt8] {
    try checkpoint(options) {
      try $0.add("a", bytes: [1, 2, 3])
      try add(to: $0)
      try $0.add("z", bytes: [4])
    }
  }
}

extension CheckpointReader {
  /// The tensor of a name; it is there.
  func named(_ name: String) throws -> (index: Int, info: TensorInfo) {
    let index = try #require(find(name))
    return (index, tensor(index))
  }

  /// Where a chunk's stored bytes are.
  func range(ofChunk index: Int) -> Range<UInt64> {
    let info = chunk(index)
    return info.offset..<info.offset + UInt64(info.storedLength)
  }

  /// The payloads of a tensor end to end: the stream that the codec makes.
  func stream(_ tensor: Int) throws -> [UInt8] {
    try self.tensor(tensor).chunks.flatMap { try payload(ofChunk: $0) }
  }
}

/// The schemes of a pair.
struct PairSchemes: Sendable, CustomTestStringConvertible {
  let first: Scheme
  let second: Scheme
  /// Chunks of scales of each, for the shape of `all`.
  let scales: (first: Int, second: Int)

  var testDescription: String {
    "\(first.map.name) \(first.bits) \(first.scaling.name), \(second.map.name) \(second.bits) \(second.scaling.name)"
  }

  /// Two chunks and a bit; odd rows, so that rows of 4-bit codes begin within a byte.
  static let shape: [UInt64] = [530, 999]

  static let all: [PairSchemes] = [
    .init(first: updateScheme(), second: log8, scales: (0, 0)),
    .init(first: updateScheme(.block(128), map: .normal, bits: 4), second: log4, scales: (0, 0)),
    .init(first: updateScheme(.row), second: log8, scales: (1, 0)),
    .init(
      first: updateScheme(.column, map: .dynamic, bits: 4),
      second: Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1), scales: (1, 1)),
    .init(
      first: updateScheme(.rank1, map: .linearNoZero, bits: 4),
      second: Scheme(map: .dynamicNoZero, bits: 8, signed: false, scaling: .row), scales: (1, 1)),
    .init(
      first: updateScheme(.tensor), second: Scheme(map: .linear, bits: 4, signed: false, scaling: .block(64)),
      scales: (1, 0)),
  ]
}
