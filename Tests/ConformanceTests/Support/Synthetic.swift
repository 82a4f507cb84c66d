import QCheckpoint
import QCodec
import TestSupport

typealias SeededGenerator = TestSupport.SeededGenerator

/// A tensor to be written by the Swift writer and read by the reference reader.
struct SyntheticTensor {
  let name: String
  let dtype: DType
  let shape: [UInt64]
  let encoding: Encoding
  let bytes: [UInt8]
  /// Of a first moment in the update domain, its second moment.
  var second: SyntheticTensorBox?

  /// One moment of a pair.
  var moment: NewTensor {
    NewTensor(name: name, dtype: dtype, role: .other, encoding: encoding, source: MemorySource(bytes: bytes))
  }

  /// A quantized tensor of many magnitudes with zeros among them.
  init(name: String, dtype: DType, shape: [UInt64], scheme: Scheme, seed: UInt64) {
    let count = Int(shape.reduce(1, *))
    var generator = SeededGenerator(seed: seed)
    self.init(
      name: name, dtype: dtype, shape: shape, encoding: .quantized(scheme),
      bytes: (0..<count).flatMap { _ in Self.element(dtype, signed: scheme.signed, from: &generator) })
  }

  init(name: String, dtype: DType, shape: [UInt64], encoding: Encoding, bytes: [UInt8]) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
    self.encoding = encoding
    self.bytes = bytes
  }

  /// The bytes of a finite number: its bit pattern is put together, for the narrow types have no other form here.
  private static func element(_ dtype: DType, signed: Bool, from generator: inout SeededGenerator) -> [UInt8] {
    let (width, fraction) = dtype == .f32 ? (32, 23) : dtype == .f16 ? (16, 10) : (16, 7)
    let exponents: ClosedRange<UInt64> = dtype == .f16 ? 0...20 : 96...126
    var pattern: UInt64 = 0
    if Int.random(in: 0..<12, using: &generator) > 0 {
      pattern = UInt64.random(in: exponents, using: &generator) << UInt64(fraction)
      pattern |= UInt64.random(in: 0..<1 << UInt64(fraction), using: &generator)
      if signed, Bool.random(using: &generator) { pattern |= 1 << UInt64(width - 1) }
    }
    return (0..<width / 8).map { UInt8(truncatingIfNeeded: pattern >> ($0 * 8)) }
  }
}

/// A tensor within another.
final class SyntheticTensorBox {
  let tensor: SyntheticTensor

  init(_ tensor: SyntheticTensor) { self.tensor = tensor }
}

/// Every scheme of the value domain that a writer takes, by map, width, sign, scaling and rounding.
enum SyntheticSchemes {
  static func all() throws -> [Scheme] {
    var maps: [Scheme] = []
    for map in Scheme.Map.allCases where map != .custom && map != .log {
      for (bits, signed) in Scheme.widths.flatMap({ [($0, true), ($0, false)] })
      where MapTable.namedDigest(map, bits: bits, signed: signed) != nil {
        maps.append(Scheme(map: map, bits: bits, signed: signed, scaling: .tensor))
      }
    }
    for (bits, signed, rule) in [(8, false, Scheme.ScaleRule.absmax), (4, true, .signedExtreme), (3, false, .absmax)] {
      let table = try MapTable(custom: customEntries(bits: bits, signed: signed), signed: signed, scaleRule: rule)
      maps.append(Scheme(map: .custom, bits: bits, signed: signed, scaling: .tensor, customTable: table))
    }
    let scalings: [Scheme.Scaling] = [.tensor, .block(32), .block(256), .row, .column, .rank1]
    let roundings: [(Scheme.Rounding, UInt64)] = [(.nearest, 0), (.nearestKeepNonzero, 0), (.stochastic, 77)]
    let logs = Scheme.widths.flatMap { bits in
      [Scheme.Scaling.block(32), .block(256)].flatMap { scaling in
        [
          Scheme(map: .log, bits: bits, signed: false, scaling: scaling),
          Scheme(map: .log, bits: bits, signed: false, scaling: scaling, rounding: .stochastic, seed: 78),
        ]
      }
    }
    return maps.flatMap { map in
      scalings.flatMap { scaling in
        roundings.map { rounding, seed in
          var scheme = map
          (scheme.scaling, scheme.rounding, scheme.seed) = (scaling, rounding, seed)
          return scheme
        }
      }
    } + logs
  }

  /// Squares, padded at the end.
  private static func customEntries(bits: Int, signed: Bool) -> [Float] {
    let count = 1 << bits
    let distinct = count - 3
    let squares = (0..<distinct).map { index in
      let x = Float(index) / Float(distinct - 1)
      let y = signed ? 2 * x - 0.9375 : x
      return index == distinct - 1 ? 1 : y * y.magnitude
    }
    return squares + [Float](repeating: 1, count: count - distinct)
  }
}
