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
  /// One count a code, 16 or 256.
  public private(set) var counts: [UInt64]

  /// Of no codes, of 4 or 8 bits each.
  public init(bits: Int) {
    precondition(bits == 4 || bits == 8, "codes have 4 or 8 bits, not \(bits)")
    counts = [UInt64](repeating: 0, count: 1 << bits)
  }

  /// Counts the codes of a tensor; throws as reading it does, `invalidArgument` for a lossless one.
  public init(_ reader: CheckpointReader, tensor index: Int) throws(QCodecError) {
    guard let layout = try reader.layout(of: index) else {
      throw QCodecError(.invalidArgument, "a lossless tensor has no codes", tensor: reader.tensor(index).name)
    }
    self.init(bits: layout.scheme.bits)
    let places = reader.tensor(index).chunks
    for chunk in 0..<layout.codeChunkCount {
      add(try reader.payload(ofChunk: places.data(chunk)), ofChunk: chunk, layout: layout)
    }
  }

  /// Counts the codes of one chunk of a tensor by its payload; the layout has as many bits a code.
  public mutating func add(_ payload: [UInt8], ofChunk chunk: Int, layout: TensorLayout) {
    let plain = PlainChunk(layout: layout, scales: [], payload: payload, chunk: chunk)
    for i in 0..<plain.count { counts[plain.code(i)] += 1 }
  }

  /// Folds in the codes of another tensor, or of another chunk, of the same width.
  public mutating func append(_ other: CodeHistogram) {
    precondition(counts.count == other.counts.count, "histograms of codes of different widths")
    for (code, count) in other.counts.enumerated() { counts[code] += count }
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
