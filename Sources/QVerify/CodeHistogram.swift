import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How often each code of a quantized tensor occurs.
public struct CodeHistogram: Sendable {
  /// One count a code, 2^bits of them.
  public let counts: [UInt64]

  /// Counts the codes of a tensor; throws as reading it does, `invalidArgument` for a lossless one.
  public init(_ reader: CheckpointReader, tensor index: Int) throws(QCodecError) {
    guard let layout = try reader.layout(of: index) else {
      throw QCodecError(.invalidArgument, "a lossless tensor has no codes", tensor: reader.tensor(index).name)
    }
    let places = reader.tensor(index).chunks
    var counts = [UInt64](repeating: 0, count: 1 << layout.scheme.bits)
    for chunk in 0..<layout.codeChunkCount {
      let payload = try reader.payload(ofChunk: places.data(chunk))
      let plain = PlainChunk(layout: layout, scales: [], payload: payload, chunk: chunk)
      for i in 0..<plain.count { counts[plain.code(i)] += 1 }
    }
    self.counts = counts
  }

  /// Bits a code that an ideal entropy coder of single codes would need: −Σ p log₂ p.
  public var entropy: Double {
    let total = Double(counts.reduce(0, +))
    return counts.reduce(0.0) { sum, count in
      guard count > 0 else { return sum }
      let share = Double(count) / total
      return sum - share * log2(share)
    }
  }
}
