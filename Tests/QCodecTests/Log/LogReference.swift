import QCodec

/// A block of the `log` map by its definition, one value at a time.
struct LogReference {
  let low: Float
  let high: Float
  let bits: Int

  init(low: Float, high: Float, bits: Int) { (self.low, self.high, self.bits) = (low, high, bits) }

  /// The block of values that are finite and not negative.
  init(_ values: [Float], bits: Int) {
    let positive = values.filter { $0 > 0 }
    let least = positive.min() ?? 0
    low = positive.count < values.count ? -least : least
    high = positive.max() ?? 0
    self.bits = bits
  }

  var hasZeros: Bool { low.sign == .minus }
  /// K.
  var steps: Int { (1 << bits) - (hasZeros ? 2 : 1) }
  var base: Int { Int(low.magnitude.bitPattern) }
  /// D.
  var span: Int { Int(high.bitPattern) - base }

  /// The pattern of the value of k.
  func pattern(_ k: Int) -> Int {
    base + Int((Double(k) * (Double(span) / Double(steps))).rounded(.toNearestOrEven))
  }

  func code(_ x: Float) -> UInt8 {
    if x == 0 { return 0 }
    let place = Double(Int(x.bitPattern) - base)
    let k = span == 0 ? 0 : Int((place * (Double(steps) / Double(span))).rounded(.toNearestOrEven))
    return UInt8(k + (hasZeros ? 1 : 0))
  }

  func value(_ code: UInt8) -> Float {
    if hasZeros, code == 0 { return 0 }
    return Float(bitPattern: UInt32(pattern(Int(code) - (hasZeros ? 1 : 0))))
  }

  /// The stream of a tensor under blocks of a size.
  static func stream(_ values: [Float], block: Int, bits: Int) -> [UInt8] {
    var (ends, codes): ([Float], [UInt8]) = ([], [])
    for start in stride(from: 0, to: values.count, by: block) {
      let part = Array(values[start..<min(start + block, values.count)])
      let reference = LogReference(part, bits: bits)
      ends += [reference.low, reference.high]
      codes += part.map(reference.code)
    }
    return ends.flatMap { littleEndian($0.bitPattern) } + packedCodes(codes, bits: bits)
  }
}

/// The bytes of an integer.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// A scheme of the `log` map.
func logScheme(_ bits: Int, block: Int = 32, seed: UInt64? = nil) -> Scheme {
  Scheme(
    map: .log, bits: bits, signed: false, scaling: .block(block), rounding: seed == nil ? .nearest : .stochastic,
    seed: seed ?? 0)
}

/// Blocks of 32 values that go to the ends of what a float is.
let extremeBlocks: [(name: String, values: [Float])] = {
  let least = Float.leastNonzeroMagnitude
  let greatest = Float.greatestFiniteMagnitude
  func spread(_ low: Float, _ high: Float, zeros: Bool = false) -> [Float] {
    let (base, top) = (Double(low.bitPattern), Double(high.bitPattern))
    let values = (0..<32).map { Float(bitPattern: UInt32(base + (top - base) * Double($0) / 31)) }
    return zeros
      ? values.enumerated().map { $0.offset % 5 == 2 ? ($0.offset % 2 == 0 ? 0 : -0.0) : $0.element } : values
  }
  return [
    ("the least subnormal beside the largest float", spread(least, greatest)),
    ("the same with zeros", spread(least, greatest, zeros: true)),
    ("subnormals alone", spread(least, Float.leastNormalMagnitude.nextDown)),
    ("subnormals and zeros", spread(least, Float.leastNormalMagnitude.nextDown, zeros: true)),
    ("across the least normal", spread(0x1p-130, 0x1p-120)),
    ("one binade", spread(1, Float(2).nextDown)),
    ("the last binade", spread(0x1p127, greatest)),
    ("fewer patterns than codes", (0..<32).map { Float(bitPattern: 0x3F80_0000 + UInt32($0 * $0 % 13)) }),
    ("two patterns", (0..<32).map { $0 % 3 == 0 ? 1 : Float(1).nextUp }),
    ("one value", [Float](repeating: 0.1, count: 32)),
    ("the least subnormal alone", [Float](repeating: least, count: 32)),
    ("one value and zeros", (0..<32).map { $0 % 2 == 0 ? 3 : 0 }),
    ("zeros of both signs", (0..<32).map { $0 % 2 == 0 ? 0 : -0.0 }),
  ]
}()
