import QCheckpoint
import QCodec

/// One chunk of a quantized tensor read element by element in the plainest way: the verifier's own decoder.
///
/// Nothing here is shared with the codec's kernels; formulas are those of Spec/Stream.md.
struct PlainChunk {
  let layout: TensorLayout
  /// The scale vector; empty under block scaling.
  let scales: [Float]
  let payload: [UInt8]
  /// The elements, in C order of the tensor.
  let range: Range<UInt64>
  /// Where codes begin.
  private let codesStart: Int
  private let blockSize: Int
  /// The values beside the codes, by element.
  private let escapes: [Int: PlainEscape]

  /// - Parameter isChecked: whether the codec's decoder has looked at the payload; of another one escapes are not read, and
  ///   only codes and scales count.
  init(layout: TensorLayout, scales: [Float], payload: [UInt8], chunk: Int, isChecked: Bool = true) {
    self.layout = layout
    self.scales = scales
    self.payload = payload
    range = layout.elements(ofChunk: chunk)
    let count = Int(range.upperBound - range.lowerBound)
    escapes =
      isChecked && layout.scheme.hasEscapes ? PlainEscape.all(of: payload, layout: layout, chunk: chunk) : [:]
    guard case .block(let size) = layout.scheme.scaling else {
      (blockSize, codesStart) = (0, 0)
      return
    }
    blockSize = size
    codesStart = (count + size - 1) / size * (layout.scheme.map == .log ? 8 : 4)
  }

  var count: Int { Int(range.upperBound - range.lowerBound) }

  /// The code of element `index` of the chunk.
  func code(_ index: Int) -> Int {
    let (bits, first) = (layout.scheme.bits, index * layout.scheme.bits)
    let at = codesStart + first / 8
    // A code has bits of one byte or of two.
    let pair = Int(payload[at]) * 256 + (at + 1 < payload.count ? Int(payload[at + 1]) : 0)
    return (pair >> (16 - bits - first % 8)) % (1 << bits)
  }

  /// The scale of an element, by the definition of its scaling.
  func scale(_ index: Int) -> Float {
    let element = range.lowerBound + UInt64(index)
    let shape = layout.shape
    switch layout.scheme.scaling {
    case .tensor: return scales[0]
    case .block: return float(at: index / blockSize * 4)
    case .row: return scales[Int(element / (layout.elementCount / shape[0]))]
    case .column: return scales[Int(element % shape[shape.count - 1])]
    case .rank1: return leastOfAxes(element)
    }
  }

  private func leastOfAxes(_ element: UInt64) -> Float {
    var least = Float.infinity
    var rest = element
    var end = scales.count
    // From the last axis, which varies fastest, to the first; their maxima stand in the order of the axes.
    for length in layout.shape.reversed() where length != 1 {
      end -= Int(length)
      least = min(least, scales[end + Int(rest % length)])
      rest /= length
    }
    return least
  }

  /// The two ends of the `log` block of an element.
  func ends(_ index: Int) -> LogEnds {
    LogEnds(low: float(at: index / blockSize * 8), high: float(at: index / blockSize * 8 + 4), bits: layout.scheme.bits)
  }

  /// The first elements of the chunk's blocks.
  var blockStarts: [Int] { Array(stride(from: 0, to: count, by: blockSize)) }

  /// The scales that the payload begins with, under `log` the greatest values of the blocks; none but under block scaling.
  var blockScales: [Float] {
    guard blockSize > 0 else { return [] }
    let isLog = layout.scheme.map == .log
    return (0..<(count + blockSize - 1) / blockSize).map { float(at: isLog ? $0 * 8 + 4 : $0 * 4) }
  }

  private func float(at offset: Int) -> Float {
    Float(bitPattern: PlainFloat.integer(payload, offset, 4, as: UInt32.self))
  }

  /// What an element decodes to as float32: map[code] · scale + 0, or the float of a `log` code; of the quotient in the
  /// update domain.
  func product(_ index: Int) -> Float {
    if let escape = escapes[index] { return escape.value }
    guard let table = layout.table else { return ends(index).value(code: code(index)) }
    return table.entries[code(index)] * scale(index) + 0
  }

  /// The value beside the codes of an element, where it has one.
  func escape(_ index: Int) -> PlainEscape? { escapes[index] }

  /// What a first moment is divided by where this is its second moment.
  func divisor(_ index: Int) -> Float {
    let value = product(index)
    return value > 0 ? value.squareRoot() : 1
  }

  /// What an element decodes to in the tensor's dtype; `divisor` is nil in the value domain.
  func value(_ index: Int, divisor: Float?) -> Double {
    if let escape = escapes[index] { return Double(escape.value) }
    let product = product(index)
    guard let divisor else { return PlainFloat.rounded(product, to: layout.dtype) }
    return PlainFloat.rounded(product * divisor + 0, to: layout.dtype)
  }
}

/// A block of the `log` map by its two stored floats.
struct LogEnds: Equatable {
  let low: Float
  let high: Float
  /// P(lo') and P(hi).
  let base: Int
  let top: Int
  /// K.
  let steps: Int
  let hasZeros: Bool

  init(low: Float, high: Float, bits: Int) {
    self.low = low
    self.high = high
    base = Int(low.magnitude.bitPattern)
    top = Int(high.bitPattern)
    hasZeros = low.sign == .minus
    steps = (1 << bits) - (hasZeros ? 2 : 1)
  }

  /// The pattern of a code; nil for the zero of a block with zeros.
  func pattern(code: Int) -> Int? {
    if hasZeros, code == 0 { return nil }
    let k = hasZeros ? code - 1 : code
    let step = Double(top - base) / Double(steps)
    return base + Int((Double(k) * step).rounded(.toNearestOrEven))
  }

  func value(code: Int) -> Float { pattern(code: code).map(Self.float) ?? 0 }

  static func float(_ pattern: Int) -> Float { Float(bitPattern: UInt32(pattern)) }
}
