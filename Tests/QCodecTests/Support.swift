import QCodec
import TestSupport

typealias SeededGenerator = TestSupport.SeededGenerator

/// Tensors that look like moments: many magnitudes, some zeros, now and then a whole block of them.
func moments(count: Int, signed: Bool, seed: UInt64) -> [Float] {
  var generator = SeededGenerator(seed: seed)
  return (0..<count).map { index in
    if index / 64 % 11 == 5 || Int.random(in: 0..<20, using: &generator) == 0 { return 0 }
    let magnitude = Float(sign: .plus, exponent: Int.random(in: -40 ... -2, using: &generator), significand: 1)
    let value = magnitude * Float.random(in: 1..<2, using: &generator)
    return signed && Bool.random(using: &generator) ? -value : value
  }
}

/// Every scheme that has a table, under a scaling and a rounding.
func allSchemes(
  scaling: Scheme.Scaling = .block(64), rounding: Scheme.Rounding = .nearest, seed: UInt64 = 0
) -> [Scheme] {
  var result: [Scheme] = []
  for map in Scheme.Map.allCases where map != .custom && map != .log {
    for bits in Scheme.widths {
      for signed in [true, false] where MapTable.namedDigest(map, bits: bits, signed: signed) != nil {
        result.append(
          Scheme(map: map, bits: bits, signed: signed, scaling: scaling, rounding: rounding, seed: seed))
      }
    }
  }
  return result
}

/// The schemes of the paper presets, and of every other width.
let presetSchemes = [
  Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
  Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256)),
  Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
  Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1),
  Scheme(map: .cubic, bits: 6, signed: true, scaling: .block(128)),
  Scheme(map: .linearNoZero, bits: 5, signed: false, scaling: .rank1),
  Scheme(map: .linear, bits: 3, signed: true, scaling: .row),
  Scheme(map: .cubic, bits: 3, signed: true, scaling: .column),
  Scheme(map: .cubic, bits: 2, signed: true, scaling: .block(32)),
]

/// Codes as streams hold them, bit by bit by the definition.
func packedCodes(_ codes: [UInt8], bits: Int) -> [UInt8] {
  var result = [UInt8](repeating: 0, count: (codes.count * bits + 7) / 8)
  for bit in 0..<codes.count * bits where codes[bit / bits] >> UInt8(bits - 1 - bit % bits) & 1 == 1 {
    result[bit / 8] |= 0x80 >> UInt8(bit % 8)
  }
  return result
}

extension TensorCodec {
  /// Encodes bytes of any dtype.
  func encode(
    bytes: [UInt8], name: String = "", threads: Int = 1
  ) throws(QCodecError) -> (stream: [UInt8], statistics: TensorStatistics) {
    var stream = [UInt8](repeating: 0, count: encodedByteCount)
    var target = stream.mutableSpan
    var span = unsafe target.mutableBytes
    let statistics = try unsafe encode(bytes.span.bytes, name: name, into: &span, threads: threads)
    return (stream, statistics)
  }

  /// Decodes to bytes of any dtype.
  func decode(bytes stream: [UInt8], threads: Int = 1) throws(QCodecError) -> [UInt8] {
    var values = [UInt8](repeating: 0, count: decodedByteCount)
    var target = values.mutableSpan
    var span = unsafe target.mutableBytes
    try unsafe decode(stream.span.bytes, into: &span, threads: threads)
    return values
  }

  /// Decodes rows of an f32 tensor.
  func decodeRows(_ rows: Range<UInt64>, of stream: [UInt8]) throws(QCodecError) -> [Float] {
    let elements = try layout.elements(ofRows: rows)
    var values = [Float](repeating: 0, count: elements.count)
    var target = values.mutableSpan
    var span = unsafe target.mutableBytes
    try unsafe decodeRows(rows, of: stream.span.bytes, into: &span)
    return values
  }
}

/// The error that `body` throws, or nil.
func failure(_ body: () throws(QCodecError) -> Void) -> QCodecError? {
  do throws(QCodecError) {
    try body()
    return nil
  } catch { return error }
}
