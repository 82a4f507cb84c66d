import QCodec

/// A scheme that tensors of a directory have, their seeds aside, and what is asked of it for each of them.
final class StoredScheme: Sendable {
  /// With a seed of 0.
  let scheme: Scheme
  let isReferable: Bool
  let isUpdate: Bool
  let hasRelativeBound: Bool
  /// Bytes that preambles have on account of it.
  let preambleBytes: Int
  /// Whether a tensor of a shape that the scaling suits has a layout under it.
  private let isValid: Bool
  /// Whether scaling and number of scales are the same for every shape.
  private let suitsAll: Bool

  init(_ scheme: Scheme) {
    self.scheme = scheme
    isReferable = scheme.isReferable
    isUpdate = scheme.domain == .update
    hasRelativeBound = scheme.hasRelativeBound
    preambleBytes = Preamble.schemeBytes(scheme)
    // A shape that suits every scaling, rank1 too.
    isValid = (try? TensorLayout(dtype: .f32, shape: [128, 128], scheme: scheme))?.scheme == scheme
    suitsAll = if case .block = scheme.scaling { true } else { false }
  }

  /// What chunks a tensor has, found without making it a layout; nil for one that has no layout under the scheme.
  @inline(__always)
  func sizes(shape: Span<UInt64>, elements: UInt64, seed: UInt64) -> ChunkSizes? {
    guard isValid, elements < 1 << 60, seed == 0 || scheme.rounding == .stochastic else { return nil }
    if suitsAll { return ChunkSizes(scheme: self, elements: elements, scales: 0) }
    guard let scaling = try? scheme.resolvedScaling(shape: shape, elementCount: elements), scaling == scheme.scaling
    else { return nil }
    let scales = TensorLayout.scaleCount(scaling, shape: shape, elementCount: elements)
    return scales < 1 << 60 ? ChunkSizes(scheme: self, elements: elements, scales: scales) : nil
  }

  /// The chunks of a quantized tensor: those of scales, then those of codes.
  struct ChunkSizes {
    fileprivate let scheme: StoredScheme
    fileprivate let elements: UInt64
    fileprivate let scales: UInt64

    private static let chunkScales = UInt64(TensorLayout.chunkScales)
    private static let chunkElements = UInt64(TensorLayout.chunkElements)

    var scaleChunks: UInt64 { (scales + Self.chunkScales - 1) / Self.chunkScales }

    var count: UInt64 { scaleChunks + (elements + Self.chunkElements - 1) / Self.chunkElements }

    /// Kind and bytes before the lossless stage of chunk `index`, how many they may be.
    func chunk(_ index: Int) -> (kind: ChunkKind, rawLengths: ClosedRange<Int>) {
      let index = UInt64(index)
      if index < scaleChunks {
        let length = Int(min(Self.chunkScales, scales - index * Self.chunkScales)) * 4
        return (.scales, length...length)
      }
      let count = min(Self.chunkElements, elements - (index - scaleChunks) * Self.chunkElements)
      return (.codes, TensorLayout.payloadByteCounts(elements: Int(count), scheme: scheme.scheme))
    }
  }
}
