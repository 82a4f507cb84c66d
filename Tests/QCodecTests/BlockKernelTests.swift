import CQCodecKernels
import Testing

@testable import QCodec

/// Encoding in blocks where no statistics are asked for, and decoding, against the definition: a scale is the block's
/// extreme, a code the number of thresholds below the quotient.
@Suite struct BlockKernelTests {
  static let levels = KernelLevel.allCases.filter { $0 != .scalar && $0.isSupported }

  /// Every named table, and custom ones that are hard on a search.
  static func tables() throws -> [MapTable] {
    var result = try allSchemes().compactMap { try $0.resolvedTable() }
    var random = SeededGenerator(seed: 7)
    for count in [8, 16, 64, 256] {
      // Close together and far from zero, where arithmetic that is exact about zero is not.
      let narrow = (0..<count).map { 1 - Float(count - 1 - $0) * 0x1p-14 }
      // Without a zero: a threshold lies there.
      let centred = (0..<count).map { Float(2 * $0 + 1 - count) / Float(count - 1) }
      let uneven = Set((1..<count).map { _ in Float.random(in: -1..<1, using: &random) }).sorted() + [1]
      for (entries, signed) in [(narrow, false), (narrow, true), (centred, true), (uneven, true)] {
        let full = entries.dropLast() + [Float](repeating: 1, count: count - entries.count + 1)
        result.append(try MapTable(custom: Array(full), signed: signed, scaleRule: .absmax))
      }
    }
    return result
  }

  /// Blocks of every kind: about thresholds, subnormal, zero, of extreme scales.
  static func values(_ count: Int, table: MapTable, block: Int, seed: UInt64) -> [Float] {
    var random = SeededGenerator(seed: seed)
    var scale: Float = 1
    return (0..<count).map { index in
      if index % block == 0 { scale = Float(sign: .plus, exponent: Int(random.next() % 275) - 149, significand: 1) }
      let bits = random.next()
      let threshold = table.thresholds[Int(bits >> 8) % table.thresholds.count]
      let near = Int32(bitPattern: threshold.bitPattern) &+ Int32((bits >> 40) % 5) - 2
      // A block in seven is of the smallest magnitudes, which rounded scales make zeros of.
      let value: Float =
        if index / block % 7 == 3 {
          Float(bitPattern: UInt32(bits >> 50) % 130)
        } else {
          switch bits % 6 {
          case 0: 0
          case 1: scale
          case 2, 3: Float(bitPattern: UInt32(bitPattern: near)) * scale
          default: (Float(bits >> 40) * 0x1p-23 - 1) * scale
          }
        }
      let finite = value.isFinite ? value : scale
      return table.signed ? (bits >> 60 == 0 ? -finite : finite) : finite.magnitude
    }
  }

  /// The nearest float32 of 16 significant bits, ties to even.
  static func rounded(_ scale: Float) -> Float {
    let magnitude = scale.magnitude.bitPattern
    let up = (magnitude + 0x80) & ~0xFF, tied = magnitude & 0xFF == 0x80 && magnitude & 0x100 == 0
    let result = Float(bitPattern: tied ? magnitude - 0x80 : up)
    return result == 0 ? 0 : scale < 0 ? -result : result
  }

  static func code(of value: Float, scale: Float, table: MapTable) -> UInt8 {
    let quotient = scale == 0 ? 0 : max(-1, min(1, value / scale))
    var (low, high) = (0, table.thresholds.count)
    while low < high {
      let middle = (low + high) / 2
      if table.thresholds[middle] < quotient { low = middle + 1 } else { high = middle }
    }
    return UInt8(low)
  }

  @Test(arguments: levels)
  func blocks(_ level: KernelLevel) throws {
    for (index, table) in try Self.tables().enumerated() {
      let kernel = table.kernelTable
      guard kernel.encodes else { continue }
      for (shape, count) in (Array(1...130) + [1000, 4096, 5003]).enumerated() {
        let block = [32, 64, 256, 1024][(shape + index) % 4], rule = (shape / 4 + index) % 4
        let x = Self.values(count + 1, table: table, block: block, seed: UInt64(shape))
        let own = Array(x.dropFirst(shape % 2).prefix(count))
        // Held for as long as its pointer is used.
        withExtendedLifetime(kernel) {
          withCodecEnvironment {
            unsafe Self.check(own, table, kernel.pointer, block: block, rule: rule, level: level)
          }
        }
      }
    }
  }

  private static func check(
    _ x: [Float], _ table: MapTable, _ kernel: UnsafePointer<qcodec_table>, block: Int, rule: Int, level: KernelLevel
  ) {
    let count = x.count, bits = table.entries.count == 16 ? 4 : 8
    let bytes = (count * bits + 7) / 8, place: Comment = "\(level.name) \(table.entries) \(count) \(block) rule \(rule)"
    var scales = [Float](repeating: .nan, count: (count + block - 1) / block)
    var codes = [UInt8](repeating: 0xAA, count: bytes + 1)
    // Rounded scales are those of the update domain; over divisors of 1 quotients are the elements.
    let ones = [Float](repeating: 1, count: count)
    var quotients = [Float](repeating: .nan, count: block)
    let found =
      rule & 2 != 0
      ? unsafe qcodec_encode_update(
        level.rawValue, kernel, x, ones, count, block, Int32(rule & 1), 0, &scales, &codes, &quotients, nil, nil)
      : unsafe qcodec_encode_blocks(level.rawValue, kernel, x, count, block, Int32(rule), 0, &scales, &codes, nil, nil)
    #expect(found == 0, place)
    var expected: [UInt8] = [], decoded: [UInt32] = []
    for start in stride(from: 0, to: count, by: block) {
      let elements = x[start..<min(count, start + block)]
      let extreme = elements.reduce(Float(0)) { $1.magnitude > $0.magnitude ? $1 : $0 }
      let scale = rule & 1 != 0 ? extreme : extreme.magnitude
      let own = rule & 2 != 0 ? rounded(scale) : scale
      #expect(scales[start / block].bitPattern == own.bitPattern, place)
      for value in elements {
        let code = code(of: value, scale: own, table: table)
        expected.append(code)
        decoded.append((table.entries[Int(code)] * own + 0).bitPattern)
      }
    }
    let own: [UInt8] = bits == 8 ? codes : codes.flatMap { [$0 >> 4, $0 & 15] }
    #expect(Array(own.prefix(count)) == expected, place)
    #expect(codes[bytes] == 0xAA && (bits == 8 || count % 2 == 0 || codes[bytes - 1] & 15 == 0), place)
    for first in [0, min(1, count - 1), count / 3] {
      var values = [Float](repeating: .nan, count: count - first + 1)
      unsafe qcodec_decode_blocks(
        level.rawValue, kernel, codes, scales, first, count - first, block, &values)
      #expect(values.dropLast().map(\.bitPattern) == Array(decoded[first...]), place)
      #expect(values[count - first].isNaN, place)
    }
  }
}
