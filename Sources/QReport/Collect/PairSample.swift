import QCheckpoint
import QCodec
import QVerify

/// A part of the original's pairs of moments, held in memory: of pairs spaced evenly through the file the leading rows.
struct PairSample {
  /// Of fewer parameters of a pair little could be said; rather some pairs are left out.
  private static let fewestOfPair = 1 << 14

  /// The part of one pair, as the original has it and as the file decodes.
  struct Part {
    let parameters: Int
    let bitsPerParameter: Double
    fileprivate let dtypes: (m: DType, v: DType)
    fileprivate let exact: (m: [UInt8], v: [UInt8])
    fileprivate let decoded: (m: [UInt8], v: [UInt8])

    func updateError(epsilon: Double) throws(QCodecError) -> UpdateError {
      var total = UpdateError(epsilon: epsilon)
      // In chunks as the verifier takes them, so that the whole of a state gives the same sums.
      for start in stride(from: 0, to: parameters, by: TensorLayout.chunkElements) {
        let count = min(TensorLayout.chunkElements, parameters - start)
        total.append(
          UpdateError(epsilon: epsilon, count: count) { index in
            let place = start + index
            return (
              PlainFloat.number(exact.m, place, dtype: dtypes.m), PlainFloat.number(exact.v, place, dtype: dtypes.v),
              PlainFloat.number(decoded.m, place, dtype: dtypes.m), PlainFloat.number(decoded.v, place, dtype: dtypes.v)
            )
          })
      }
      return total
    }
  }

  private(set) var parts: [Part] = []
  private(set) var size: TradeOff.Sample
  /// The part of the original as a document of its own.
  let document: InputDocument

  init(_ collector: FigureCollector, order: [Int]) throws(QCodecError) {
    let pairs = Self.pairs(of: collector, order: order)
    let limit = collector.sampleLimit
    let all = pairs.reduce(0) { $0 + collector.reader.tensor($1.first).elementCount }
    size = TradeOff.Sample(pairs: 0, allPairs: pairs.count, parameters: 0, allParameters: all)
    func wanted(_ most: Int) -> Int {
      pairs.reduce(0) { $0 + Int(min(collector.reader.tensor($1.first).elementCount, UInt64(most))) }
    }
    var most = limit
    while most > Self.fewestOfPair, wanted(most) > limit { most /= 2 }
    // Odd, for weights and biases often alternate.
    let step = max(1, (wanted(most) + limit - 1) / limit) | 1
    var tensors: [InputTensor] = []
    for index in stride(from: 0, to: pairs.count, by: step) {
      let (m, v) = (collector.reader.tensor(pairs[index].first), collector.reader.tensor(pairs[index].second))
      let shape = Self.leading(of: m.shape, elements: m.elementCount, most: UInt64(most))
      let count = Int(try TensorLayout.elementCount(of: shape))
      guard count > 0, Int(size.parameters) + count <= limit else { continue }
      guard let sources = Self.sources(m, v, collector) else { continue }
      let exact = (m: try sources.m.leading(count, of: m.dtype), v: try sources.v.leading(count, of: v.dtype))
      let decoded = (
        m: try collector.reader.contents(of: pairs[index].first).leading(count, of: m.dtype),
        v: try collector.reader.contents(of: pairs[index].second).leading(count, of: v.dtype)
      )
      let bits = Double(m.storedBytes + v.storedBytes) * 8 / Double(m.elementCount)
      parts.append(
        Part(
          parameters: count, bitsPerParameter: bits, dtypes: (m.dtype, v.dtype), exact: exact, decoded: decoded))
      tensors.append(Self.tensor(m, shape, exact.m))
      tensors.append(Self.tensor(v, shape, exact.v))
      size.pairs += 1
      size.parameters += UInt64(count)
    }
    document = InputDocument(tensors: tensors, metadata: [:], kind: "sample", files: [])
  }

  private static func pairs(of collector: FigureCollector, order: [Int]) -> [(first: Int, second: Int)] {
    let reader = collector.reader
    let seconds = Dictionary(reader.momentPairs().map { ($0.first, $0.second) }) { first, _ in first }
    return order.compactMap { first in
      guard let second = seconds[first],
        sources(reader.tensor(first), reader.tensor(second), collector) != nil
      else { return nil }
      return (first, second)
    }
  }

  private static func sources(
    _ m: TensorInfo, _ v: TensorInfo, _ collector: FigureCollector
  ) -> (m: any TensorSource, v: any TensorSource)? {
    let floats: [DType] = [.f32, .f64, .f16, .bf16]
    guard floats.contains(m.dtype), floats.contains(v.dtype), let first = collector.source(of: m),
      let second = collector.source(of: v)
    else { return nil }
    return (first.source, second.source)
  }

  /// The shape of as many leading rows as the sample takes; of a row that is too long its first elements.
  private static func leading(of shape: [UInt64], elements: UInt64, most: UInt64) -> [UInt64] {
    guard elements > most else { return shape }
    let row = elements / shape[0]
    return row <= most ? [most / row] + shape.dropFirst() : [most]
  }

  private static func tensor(_ info: TensorInfo, _ shape: [UInt64], _ bytes: [UInt8]) -> InputTensor {
    InputTensor(
      name: info.name, dtype: info.dtype, shape: shape, source: MemorySource(bytes: bytes), role: info.role)
  }
}

extension TensorSource {
  /// The bytes of the first elements.
  fileprivate func leading(_ count: Int, of dtype: DType) throws(QCodecError) -> [UInt8] {
    try array(at: 0, count: count * dtype.bitWidth / 8)
  }
}
