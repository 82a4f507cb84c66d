import QCheckpoint
import QCodec

/// A tensor of either side, read in pieces of the codec's chunks: 262,144 elements whatever the dtype.
struct ComparedTensor: Sendable {
  let dtype: DType
  let elements: UInt64
  private let source: any TensorSource

  init(_ tensor: InputTensor) {
    dtype = tensor.dtype
    source = tensor.source
    // bytes · 8 / width without its overflow.
    let (whole, rest) = tensor.source.byteCount.quotientAndRemainder(dividingBy: UInt64(tensor.dtype.bitWidth))
    elements = whole * 8 + rest * 8 / UInt64(tensor.dtype.bitWidth)
  }

  var chunkCount: Int {
    let size = UInt64(TensorLayout.chunkElements)
    return Int((elements + size - 1) / size)
  }

  /// The bytes of a chunk; throws as the source.
  func bytes(ofChunk chunk: Int) throws(QCodecError) -> [UInt8] {
    let size = UInt64(TensorLayout.chunkElements)
    let range = UInt64(chunk) * size..<min(elements, (UInt64(chunk) + 1) * size)
    let start = try dtype.byteCount(elements: range.lowerBound)
    let end = try dtype.byteCount(elements: range.upperBound)
    var bytes = [UInt8](repeating: 0, count: Int(end - start))
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in try unsafe source.read(at: start, into: buffer) }
    return bytes
  }

  /// The elements of a chunk as float64; throws as the source.
  func values(ofChunk chunk: Int) throws(QCodecError) -> [Double] { values(try bytes(ofChunk: chunk)) }

  /// The elements of a chunk's bytes as float64, exact, of a dtype that has values.
  func values(_ bytes: [UInt8]) -> [Double] {
    unsafe bytes.withBytes { buffer in
      guard dtype == .f64 else { return unsafe dtype.floats(buffer).map { Double($0) } }
      return (0..<buffer.count / 8).map { index in
        Double(bitPattern: unsafe buffer.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
      }
    }
  }
}

extension DType {
  /// Whether differences of such elements are computed: f32, f64, f16 and bf16. All others are compared by their bits.
  var hasDistance: Bool { isQuantizable || self == .f64 }
}
