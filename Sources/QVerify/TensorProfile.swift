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
  /// - Parameters:
  ///   - reader: an open checkpoint.
  ///   - index: the tensor's place among the tensors.
  ///   - threads: threads to use; they do not change the result.
  ///   - progress: called with the decoded bytes of the chunks counted since the last call.
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
    var total = TensorProfile(bits: layout.scheme.bits, scales: try reader.scales(of: index))
    try orderedPipeline(count: layout.codeChunkCount, threads: threads) { chunk throws(QCodecError) in
      let payload = try reader.payload(ofChunk: places.data(chunk))
      return (
        profile: TensorProfile(payload, ofChunk: chunk, layout: layout), bytes: layout.sourceByteCount(ofChunk: chunk)
      )
    } consume: { (next: (profile: TensorProfile, bytes: Int)) in
      total.append(next.profile)
      progress(UInt64(next.bytes))
    }
    self = total
  }

  /// A scale vector, empty under block scaling, and no codes of a width.
  package init(bits: Int, scales: [Float] = []) {
    codes = CodeHistogram(bits: bits)
    self.scales = ScaleHistogram(scales)
  }

  /// One chunk of a tensor by its payload.
  package init(_ payload: [UInt8], ofChunk chunk: Int, layout: TensorLayout) {
    let plain = PlainChunk(layout: layout, scales: [], payload: payload, chunk: chunk, isChecked: false)
    codes = CodeHistogram(plain)
    scales = ScaleHistogram(plain.blockScales)
  }

  /// Adds the counts of another tensor of codes of the same width.
  public mutating func append(_ other: TensorProfile) {
    codes.append(other.codes)
    scales.append(other.scales)
  }
}
