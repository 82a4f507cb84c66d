import QCheckpoint
import QCodec

/// A quantized tensor read element by element in the plainest way: the verifier's own decoder.
struct PlainTensor {
  let layout: TensorLayout
  /// The scale vector; empty under block scaling.
  let scales: [Float]

  /// The scale of an element, by the definition of its scaling.
  func scale(of element: UInt64, payload: [UInt8], chunkStart: UInt64) -> Float {
    let shape = layout.shape
    switch layout.scheme.scaling {
    case .tensor: return scales[0]
    case .block(let size):
      let block = Int((element - chunkStart) / UInt64(size))
      return Float(bitPattern: PlainFloat.integer(payload, block * 4, 4, as: UInt32.self))
    case .row: return scales[Int(element / (layout.elementCount / shape[0]))]
    case .column: return scales[Int(element % shape[shape.count - 1])]
    case .rank1:
      var least = Float.infinity
      var rest = element
      var end = scales.count
      // From the last axis, which varies fastest, to the first; their maxima stand in the order of the axes.
      for length in shape.reversed() where length != 1 {
        end -= Int(length)
        least = min(least, scales[end + Int(rest % length)])
        rest /= length
      }
      return least
    }
  }

  /// The code of element `index` of a chunk of `count` elements.
  func code(_ index: Int, payload: [UInt8], count: Int) -> Int {
    var start = 0
    if case .block(let size) = layout.scheme.scaling { start = (count + size - 1) / size * 4 }
    if layout.scheme.bits == 8 { return Int(payload[start + index]) }
    let byte = Int(payload[start + index / 2])
    return index % 2 == 0 ? byte / 16 : byte % 16
  }

  /// What a code decodes to, in the tensor's dtype.
  func value(code: Int, scale: Float) -> Double {
    let product = layout.table.entries[code] * scale
    return PlainFloat.rounded(product + 0, to: layout.dtype)
  }
}
