/// How one quantized tensor lies in chunks: its resolved scheme, its map table and the sizes of its payloads.
///
/// Creating a layout is where every fallback of the scheme is taken and every impossible scheme refused; what encodes
/// or decodes with a layout needs no further checks of it.
public struct TensorLayout: Sendable {
  /// Elements of a code chunk; the last may be short.
  public static let chunkElements = 262_144
  /// Scales of a scale chunk; the last may be short.
  public static let chunkScales = 262_144

  /// The type of the elements: f32, bf16 or f16.
  public let dtype: DType
  /// The lengths of the axes, C order.
  public let shape: [UInt64]
  /// The scheme with its fallbacks taken; what a file records.
  public let scheme: Scheme
  /// The product of the lengths.
  public let elementCount: UInt64
  /// The table that codes index; nil for the `log` map, which has none.
  public let table: MapTable?
  /// float32 values in the tensor's scale vector: 0 under block scaling, whose scales lie in the code chunks.
  public let scaleCount: Int

  /// Lays out a tensor; throws `unsupportedScheme` for what no scheme of this version is, `limitExceeded` for a shape
  /// whose bytes exceed 2^63.
  public init(dtype: DType, shape: [UInt64], scheme: Scheme) throws(QCodecError) {
    guard dtype.isQuantizable else {
      throw QCodecError(.unsupportedScheme, "\(dtype.name) tensors cannot be quantized, only F32, F16 and BF16")
    }
    elementCount = try Self.elementCount(of: shape)
    self.dtype = dtype
    self.shape = shape
    table = try scheme.resolvedTable()
    self.scheme = try scheme.resolved(shape: shape, elementCount: elementCount)
    let scales = Self.scaleCount(self.scheme.scaling, shape: shape.span, elementCount: elementCount)
    guard elementCount < 1 << 60, scales < 1 << 60 else {
      throw QCodecError(.limitExceeded, "the shape \(shape) exceeds 2^63 bytes")
    }
    scaleCount = Int(scales)
  }

  /// The number of elements of a shape; throws `limitExceeded` where it exceeds 64 bits. A zero anywhere makes it 0.
  public static func elementCount(of shape: [UInt64]) throws(QCodecError) -> UInt64 {
    if shape.contains(0) { return 0 }
    var count: UInt64 = 1
    for length in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: length)
      guard !overflow else { throw QCodecError(.limitExceeded, "the shape \(shape) exceeds 2^64 elements") }
      count = product
    }
    return count
  }

  /// float32 values in the scale vector of a tensor whose shape suits the scaling.
  package static func scaleCount(_ scaling: Scheme.Scaling, shape: Span<UInt64>, elementCount: UInt64) -> UInt64 {
    // A tensor without elements has no chunks at all.
    guard elementCount > 0 else { return 0 }
    switch scaling {
    case .block: return 0
    case .tensor: return 1
    case .row: return shape[0]
    case .column: return shape[shape.count - 1]
    case .rank1: return shape.indices.reduce(0) { $0 + (shape[$1] == 1 ? 0 : shape[$1]) }
    }
  }

  /// The axes that carry maxima under rank1: those of more than one index, in order.
  public static func rank1Axes(of shape: [UInt64]) -> [UInt64] { shape.filter { $0 != 1 } }
}

// MARK: - Chunks

extension TensorLayout {
  /// Code chunks of the tensor; 0 without elements.
  public var codeChunkCount: Int {
    Int((elementCount + UInt64(Self.chunkElements) - 1) / UInt64(Self.chunkElements))
  }

  /// Scale chunks of the tensor, which stand before its code chunks; 0 under block scaling.
  public var scaleChunkCount: Int { (scaleCount + Self.chunkScales - 1) / Self.chunkScales }

  /// The elements, in C order, of a code chunk.
  public func elements(ofChunk index: Int) -> Range<UInt64> {
    let first = UInt64(index) * UInt64(Self.chunkElements)
    return first..<min(elementCount, first + UInt64(Self.chunkElements))
  }

  /// The entries of the scale vector that a scale chunk holds.
  public func scales(ofChunk index: Int) -> Range<Int> {
    index * Self.chunkScales..<min(scaleCount, (index + 1) * Self.chunkScales)
  }

  /// Bytes of a code chunk without escapes: block scales, if any, and codes.
  public func payloadByteCount(ofChunk index: Int) -> Int {
    let range = elements(ofChunk: index)
    return Self.payloadByteCount(elements: Int(range.upperBound - range.lowerBound), scheme: scheme)
  }

  /// Bytes of a chunk of `count` elements under a scheme: block scales, if any, and codes.
  package static func payloadByteCount(elements count: Int, scheme: Scheme) -> Int {
    blockByteCount(elements: count, scheme: scheme) + codeByteCount(elements: count, bits: scheme.bits)
  }

  /// Bytes of `count` codes, a string of bits: ⌈count · bits / 8⌉.
  package static func codeByteCount(elements count: Int, bits: Int) -> Int {
    // Eight codes are whole bytes; the product itself may exceed an Int.
    count / 8 * bits + (count % 8 * bits + 7) / 8
  }

  /// The sizes that the payload of a code chunk may have: one, but where escapes follow the codes.
  package func payloadByteCounts(ofChunk index: Int) -> ClosedRange<Int> {
    Self.payloadByteCounts(elements: sourceByteCount(ofChunk: index) / elementSize, scheme: scheme)
  }

  /// Likewise of a chunk of `count` elements under a scheme.
  package static func payloadByteCounts(elements count: Int, scheme: Scheme) -> ClosedRange<Int> {
    let base = payloadByteCount(elements: count, scheme: scheme)
    return scheme.hasEscapes ? EscapeSection.payloadByteCounts(base, elements: count) : base...base
  }

  private static func blockByteCount(elements count: Int, scheme: Scheme) -> Int {
    guard case .block(let size) = scheme.scaling else { return 0 }
    return (count + size - 1) / size * (scheme.map == .log ? 8 : 4)
  }

  /// Bytes of a chunk's elements in the tensor's dtype.
  public func sourceByteCount(ofChunk index: Int) -> Int {
    let range = elements(ofChunk: index)
    return Int(range.upperBound - range.lowerBound) * elementSize
  }

  /// Bytes of the whole stream: every scale chunk, then every code chunk.
  public var streamByteCount: Int {
    let whole = elementCount / UInt64(Self.chunkElements)
    let first = whole > 0 ? payloadByteCount(ofChunk: 0) : 0
    let rest = codeChunkCount > Int(whole) ? payloadByteCount(ofChunk: codeChunkCount - 1) : 0
    return scaleCount * 4 + Int(whole) * first + rest
  }

  /// Bytes of the tensor itself.
  public var sourceByteCount: UInt64 { elementCount * UInt64(elementSize) }

  /// Bytes of one element: 4 or 2.
  var elementSize: Int { dtype.bitWidth / 8 }

  /// Where the payload of a code chunk begins in the in-memory stream.
  package func streamOffset(ofChunk index: Int) -> Int {
    scaleCount * 4 + (index == 0 ? 0 : index * payloadByteCount(ofChunk: 0))
  }

  /// Bytes that stand before the codes of a chunk: a scale a block, or the two ends of a `log` block.
  package func blockByteCount(elements count: Int) -> Int { Self.blockByteCount(elements: count, scheme: scheme) }
}
