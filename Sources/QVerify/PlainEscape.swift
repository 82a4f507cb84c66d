import QCodec

/// An element whose value stands beside the codes of its chunk, read in the plainest way.
struct PlainEscape: Equatable, Sendable {
  /// In float32, exact.
  let value: Float
  /// Half a unit of the last bit that is kept, in patterns of float32; 0 where the value is exact.
  let reach: UInt32

  /// Half a step, of a multiple; nil of a float.
  private let halfStep: Double?

  /// The escapes of a payload that the codec's decoder has checked, by element of the chunk.
  static func all(of payload: [UInt8], layout: TensorLayout, chunk: Int) -> [Int: PlainEscape] {
    let base = layout.payloadByteCount(ofChunk: chunk)
    func word(_ offset: Int) -> Int { Int(PlainFloat.integer(payload, offset, 4, as: UInt32.self)) }
    let runs = word(base)
    var at = base + 4 + 8 * runs
    var result: [Int: PlainEscape] = [:]
    for run in 0..<runs {
      let (first, second) = (word(base + 4 + 8 * run), word(base + 8 + 8 * run))
      let (length, bits, exponent) = (second % (1 << 18) + 1, second >> 18 % 64, second >> 24)
      let width = (bits + 7) / 8
      for place in 0..<length {
        // Byte k of all values stands before byte k + 1 of any.
        let bytes = (0..<width).map { payload[at + $0 * length + place] }
        result[first + place] =
          exponent == 0
          ? PlainEscape(float: bytes, bits: bits, dtype: layout.dtype)
          : PlainEscape(multiple: bytes, exponent: exponent - 150)
      }
      at += length * width
    }
    return result
  }

  private init(float bytes: [UInt8], bits: Int, dtype: DType) {
    halfStep = nil
    guard dtype == .f32 else {
      value = Float(PlainFloat.value(bytes, 0, dtype: dtype))
      reach = 0
      return
    }
    var pattern: UInt32 = 0
    for byte in bytes.reversed() { pattern = pattern << 8 | UInt32(byte) }
    value = Float(bitPattern: pattern << UInt32(8 * (4 - bytes.count)))
    reach = bits == 32 ? 0 : 1 << UInt32(31 - bits)
  }

  private init(multiple bytes: [UInt8], exponent: Int) {
    var multiple = 0
    for byte in bytes.reversed() { multiple = multiple * 256 + Int(byte) }
    if multiple >= 1 << (8 * bytes.count - 1) { multiple -= 1 << (8 * bytes.count) }
    let step = Double(sign: .plus, exponent: exponent, significand: 1)
    value = Float(Double(multiple) * step)
    (reach, halfStep) = (0, step / 2)
  }

  /// What is guaranteed of the element; zero stands for zero alone. `divisor` is nil in the value domain.
  func guarantee(isLog: Bool, divisor: Float?) -> Guarantee {
    if let halfStep { return Guarantee(absolute: halfStep) }
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
