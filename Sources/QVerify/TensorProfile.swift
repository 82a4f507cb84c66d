import QCheckpoint
import QCodec

/// The codes and the scales of quantized tensors, counted.
public struct TensorProfile: Sendable {
  /// How often each code occurs.
  public private(set) var codes: CodeHistogram
  /// The scales of the blocks, or of the scale vector, by power of two.
  public private(set) var scales: ScaleHistogram

  /// Counts the codes and scales of a tensor, chunk by chunk on several threads; O(elements).
  ///
  /// - Parameter progress: called with the decoded bytes of the chunks counted since the last call.
  ///
  /// Memory: a few chunks and one scale vector. Throws as reading the tensor does, `invalidArgument` for a lossless one.
  public init(
    _ reader: CheckpointReader, tensor index: Int, threads: Int = availableThreads(),
    progress: (UInt64) -> Void = { _ in }
  ) throws(QCodecError) {
    guard let layout = try reader.layout(of: index) else {
      throw QCodecError(.invalidArgument, "a lossless tensor has no codes", tensor: reader.tensor(index).name)
    }
    let places = reader.tensor(index).chunks
    var codes = CodeHistogram(bits: layout.scheme.bits)
    var scales = ScaleHistogram(try reader.scales(of: index))
    try orderedPipeline(count: layout.codeChunkCount, threads: threads) { chunk throws(QCodecError) in
      let payload = try reader.payload(ofChunk: places.data(chunk))
      let plain = PlainChunk(layout: layout, scales: [], payload: payload, chunk: chunk)
      return (
        codes: CodeHistogram(plain), scales: ScaleHistogram(plain.blockScales),
        bytes: layout.sourceByteCount(ofChunk: chunk)
      )
    } consume: { (next: (codes: CodeHistogram, scales: ScaleHistogram, bytes: Int)) in
      codes.append(next.codes)
      scales.append(next.scales)
      progress(UInt64(next.bytes))
    }
    (self.codes, self.scales) = (codes, scales)
  }

  /// Adds the counts of another tensor of codes of the same width.
  public mutating func append(_ other: TensorProfile) {
    codes.append(other.codes)
    scales.append(other.scales)
  }
}
