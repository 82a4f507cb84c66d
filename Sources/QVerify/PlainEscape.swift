import QCodec

/// An element whose value stands beside the codes of its chunk, read in the plainest way.
struct PlainEscape: Equatable, Sendable {
  /// In float32, exact.
  let value: Float
  /// Half a unit of the last bit that is kept, in patterns of float32; 0 where the value is exact.
  let reach: UInt32

  /// The escapes of a payload that the codec's decoder has checked, by element of the chunk.
  static func all(of payload: [UInt8], layout: TensorLayout, chunk: Int) -> [Int: PlainEscape] {
    let base = layout.payloadByteCount(ofChunk: chunk)
    func word(_ offset: Int) -> Int { Int(PlainFloat.integer(payload, offset, 4, as: UInt32.self)) }
    let runs = word(base)
    var at = base + 4 + 8 * runs
    var result: [Int: PlainEscape] = [:]
    for run in 0..<runs {
      let (first, second) = (word(base + 4 + 8 * run), word(base + 8 + 8 * run))
      let (length, width) = (second % (1 << 24) + 1, second / (1 << 24))
      for place in 0..<length {
        result[first + place] = PlainEscape(payload, at, width: width, dtype: layout.dtype)
        at += width
      }
    }
    return result
  }

  private init(_ payload: [UInt8], _ offset: Int, width: Int, dtype: DType) {
    guard dtype == .f32 else {
      let bytes = [payload[offset], payload[offset + 1]]
      value = Float(PlainFloat.value(bytes, 0, dtype: dtype))
      reach = 0
      return
    }
    var pattern: UInt32 = 0
    for byte in (0..<width).reversed() { pattern = pattern << 8 | UInt32(payload[offset + byte]) }
    value = Float(bitPattern: pattern << UInt32(8 * (4 - width)))
    reach = width == 4 ? 0 : 1 << UInt32(8 * (4 - width) - 1)
  }

  /// What is guaranteed of the element; zero stands for zero alone. `divisor` is nil in the value domain.
  func guarantee(isLog: Bool, divisor: Float?) -> Guarantee {
    let pattern = value.magnitude.bitPattern
    guard reach > 0, pattern > 0 else { return Guarantee() }
    func number(_ pattern: UInt32) -> Double { Double(Float(bitPattern: pattern)) }
    let (below, at, above) = (number(pattern - reach), number(pattern), number(pattern + reach))
    let absolute = above - at
    if let divisor { return Guarantee(absolute: absolute, relative: absolute / Double(divisor) * (1 + 0x1p-40)) }
    guard isLog else { return Guarantee(absolute: absolute) }
    return Guarantee(absolute: absolute, relative: max((at - below) / below, absolute / above) * (1 + 0x1p-40))
  }
}
