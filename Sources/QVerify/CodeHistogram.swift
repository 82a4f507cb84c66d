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
  public internal(set) var counts: [UInt64]

  /// Of no codes, of one of `Scheme.widths` each.
  public init(bits: Int) {
    precondition(Scheme.widths.contains(bits), "codes have no \(bits) bits")
    counts = [UInt64](repeating: 0, count: 1 << bits)
  }

  /// Counts the codes of a tensor; throws as reading it does, `invalidArgument` for a lossless one.
  public init(_ reader: CheckpointReader, tensor index: Int) throws(QCodecError) {
    self = try TensorProfile(reader, tensor: index).codes
  }

  /// The codes of a chunk.
  init(_ chunk: PlainChunk) {
    self.init(bits: chunk.layout.scheme.bits)
    for i in 0..<chunk.count { counts[chunk.code(i)] += 1 }
  }

  /// Adds the counts of codes of the same width.
  public mutating func append(_ other: CodeHistogram) {
    precondition(counts.count == other.counts.count, "codes of one width")
    for code in counts.indices { counts[code] += other.counts[code] }
  }

  /// How many codes were counted.
  public var total: UInt64 { counts.reduce(0, +) }

  /// Bits a code that an ideal entropy coder of single codes would need: −Σ p log₂ p.
  public var entropy: Double {
    let total = Double(self.total)
    return counts.reduce(0.0) { sum, count in
      guard count > 0 else { return sum }
      let share = Double(count) / total
      return sum - share * log2(share)
    }
  }
}
