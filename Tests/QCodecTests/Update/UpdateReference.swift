import QCodec

/// The update domain by its definition, one element at a time: nearest rounding, f32.
struct UpdateReference {
  let scheme: Scheme
  let shape: [Int]
  let entries: [Float]
  let thresholds: [Float]
  /// √v̂, or 1 where v̂ is 0.
  let divisors: [Float]
  let quotients: [Float]
  /// The scale of each element.
  private(set) var scales: [Float] = []

  /// `second` is what the second moment decodes to.
  init(_ first: [Float], second: [Float], scheme: Scheme, shape: [Int]) throws {
    self.scheme = scheme
    self.shape = shape
    let table = try MapTable.named(scheme.map, bits: scheme.bits, signed: true)
    (entries, thresholds) = (table.entries, table.thresholds)
    divisors = second.map { $0 > 0 ? $0.squareRoot() : 1 }
    quotients = zip(first, divisors).map { $0 / $1 }
    scales = [Float](repeating: .infinity, count: quotients.count)
    for key in keys() { bound(by: key) }
  }

  /// For each scale that elements have, which of them share it.
  private func keys() -> [(Int) -> Int] {
    let (count, columns) = (quotients.count, shape[shape.count - 1])
    switch scheme.scaling {
    case .tensor: return [{ _ in 0 }]
    case .block(let size): return [{ $0 / size }]
    case .row: return [{ [rows = shape[0]] in $0 / (count / rows) }]
    case .column: return [{ $0 % columns }]
    case .rank1: return [{ $0 / columns }, { $0 % columns }]
    }
  }

  /// Lowers every scale to that of the elements with the same key.
  private mutating func bound(by key: (Int) -> Int) {
    var extremes: [Int: Float] = [:]
    for (index, quotient) in quotients.enumerated() {
      if quotient.magnitude > extremes[key(index), default: 0].magnitude { extremes[key(index)] = quotient }
    }
    let isSigned = scheme.scaleRule == .signedExtreme && scheme.scaling != .rank1
    let rounded = extremes.mapValues { Self.rounded(isSigned ? $0 : $0.magnitude) }
    for index in scales.indices { scales[index] = min(scales[index], rounded[key(index)] ?? 0) }
  }

  /// The nearest float of 16 significant bits, the even one of two.
  static func rounded(_ value: Float) -> Float {
    let low = Float(bitPattern: value.bitPattern & ~0xFF)
    let high = Float(bitPattern: (value.bitPattern & ~0xFF) + 0x100)
    let (below, above) = (Double(value) - Double(low), Double(high) - Double(value))
    let isEven = low.bitPattern & 0x100 == 0
    let result = below.magnitude < above.magnitude || (below.magnitude == above.magnitude && isEven) ? low : high
    return result == 0 ? 0 : result
  }

  func code(_ index: Int) -> UInt8 {
    let y = scales[index] == 0 ? 0 : max(-1, min(1, quotients[index] / scales[index]))
    let nearest = thresholds.count { $0 < y }
    guard scheme.map == .linearNoZero, [entries.firstIndex { $0 > 0 }, entries.lastIndex { $0 < 0 }].contains(nearest)
    else { return UInt8(nearest) }
    // An element takes a code of its own sign.
    let isNegative = quotients[index] < 0 && scales[index] != 0
    return UInt8((isNegative ? entries.lastIndex { $0 < 0 } : entries.firstIndex { $0 > 0 }) ?? 0)
  }

  func value(_ index: Int) -> Float { (entries[Int(code(index))] * scales[index]) * divisors[index] + 0 }
}

/// A scheme of the update domain.
func updateScheme(
  _ map: Scheme.Map, _ bits: Int, _ scaling: Scheme.Scaling = .block(32), rounding: Scheme.Rounding = .nearest,
  seed: UInt64 = 0, scaleRule: Scheme.ScaleRule? = nil
) -> Scheme {
  Scheme(
    map: map, bits: bits, signed: true, scaling: scaling, domain: .update, rounding: rounding, seed: seed,
    scaleRule: scaleRule)
}

/// Every signed map.
let signedMaps: [(map: Scheme.Map, bits: Int)] = [
  (.dynamic, 8), (.dynamic, 4), (.linear, 8), (.linear, 4), (.linearNoZero, 8), (.linearNoZero, 4), (.normal, 4),
  (.cubic, 8), (.cubic, 4), (.cubic, 6), (.linear, 5), (.linearNoZero, 3), (.cubic, 3), (.linear, 2), (.cubic, 2),
]

/// The pairs of schemes of adam8 and adam4, and a pair of 6 bits.
let adamSchemes: [(first: Scheme, second: Scheme)] = [
  (updateScheme(.cubic, 8, .block(256)), logScheme(8, block: 512)),
  (updateScheme(.cubic, 4, .block(128)), logScheme(4, block: 256)),
  (updateScheme(.cubic, 6, .block(128)), logScheme(6, block: 256)),
]

/// Second moments and first moments that are a multiple of their roots, as those of Adam: some of both zero.
func adamMoments(_ count: Int, seed: UInt64, exponents: ClosedRange<Int> = -30 ... -6) -> (m: [Float], v: [Float]) {
  var generator = SeededGenerator(seed: seed)
  var (m, v): ([Float], [Float]) = ([], [])
  for index in 0..<count {
    let root = Float(sign: .plus, exponent: Int.random(in: exponents, using: &generator), significand: 1)
    let factor = Float.random(in: -1...1, using: &generator)
    v.append(index % 17 == 3 ? 0 : root * root * Float.random(in: 1..<4, using: &generator))
    m.append(index % 13 == 5 ? 0 : root * factor)
  }
  return (m, v)
}

extension MomentCodec {
  /// Encodes moments given as bytes of their dtypes.
  func encode(
    bytes first: [UInt8], second: [UInt8], names: (String, String) = ("m", "v"), threads: Int = 1
  ) throws(QCodecError) -> (first: [UInt8], second: [UInt8], statistics: TensorStatistics) {
    var stream = [UInt8](repeating: 0, count: self.first.streamByteCount)
    var secondStream = [UInt8](repeating: 0, count: self.second.encodedByteCount)
    var firstSpan = stream.mutableSpan
    var firstBytes = unsafe firstSpan.mutableBytes
    var secondSpan = secondStream.mutableSpan
    var secondBytes = unsafe secondSpan.mutableBytes
    let (statistics, _) = try unsafe encode(
      first: first.span.bytes, second: second.span.bytes, names: names, into: &firstBytes, &secondBytes,
      threads: threads)
    return (stream, secondStream, statistics)
  }

  /// Decodes a first moment, or rows of it, to bytes of its dtype.
  func decode(
    bytes stream: [UInt8], second: [UInt8], rows: Range<UInt64>? = nil, threads: Int = 1
  ) throws(QCodecError) -> [UInt8] {
    let elements = if let rows { try first.elements(ofRows: rows) } else { 0..<first.elementCount }
    var values = [UInt8](repeating: 0xEE, count: elements.count * first.dtype.bitWidth / 8)
    var target = values.mutableSpan
    var span = unsafe target.mutableBytes
    try unsafe decodeFirst(stream.span.bytes, second: second.span.bytes, rows: rows, into: &span, threads: threads)
    return values
  }
}
