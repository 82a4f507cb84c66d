import QCodec
import Testing

@testable import QCheckpoint

@Suite("The difference of two payloads")
struct DifferenceTests {
  private static func taken(_ source: [UInt8], _ base: [UInt8], _ wordSize: Int) -> [UInt8] {
    var result = [UInt8](repeating: 0xEE, count: source.count)
    unsafe source.withUnsafeBytes { source in
      unsafe base.withUnsafeBytes { base in
        unsafe result.withUnsafeMutableBytes { target in
          unsafe Difference.take(of: source, to: base, wordSize: wordSize, into: target)
        }
      }
    }
    return result
  }

  private static func added(_ difference: [UInt8], _ base: [UInt8], _ wordSize: Int) -> [UInt8] {
    var result = base
    unsafe difference.withUnsafeBytes { difference in
      unsafe result.withUnsafeMutableBytes { unsafe Difference.add(difference, wordSize: wordSize, to: $0) }
    }
    return result
  }

  /// Every step of a byte from every byte: those nearest to zero get the smallest numbers, of either sign in turn.
  @Test("Of every two bytes")
  func bytes() {
    for base in UInt8.min...UInt8.max {
      let all = Array(UInt8.min...UInt8.max)
      let bases = [UInt8](repeating: base, count: 256)
      let steps = Self.taken(all, bases, 1)
      for (value, step) in zip(all, steps) {
        let signed = Int8(bitPattern: value &- base)
        #expect(Int(step) == (signed < 0 ? -2 * Int(signed) - 1 : 2 * Int(signed)))
      }
      #expect(Self.added(steps, bases, 1) == all)
    }
  }

  @Test("Of numbers of every width, of every length", arguments: [1, 2, 4, 8])
  func widths(size: Int) {
    for count in [0, 1, 2, 3, 7, 8, 15, 16, 17, 33, 100, 1000] {
      let base = noise(count * size, seed: UInt64(count))
      for source in [noise(count * size, seed: UInt64(count + 1)), base, base.map { ~$0 }] {
        let difference = Self.taken(source, base, size)
        #expect(Self.added(difference, base, size) == source, "\(count) of \(size) bytes")
        if source == base { #expect(difference.allSatisfy { $0 == 0 }) }
      }
    }
  }

  @Test("A float's neighbours are a step away, whatever carries")
  func neighbours() {
    let floats: [Float] = [1, 2, 0.5, 1e-38, .leastNonzeroMagnitude, -1, 3e38]
    for (change, step) in [(1, UInt32(2)), (-1, 1), (3, 6), (-3, 5)] {
      let moved = floats.map { Float(bitPattern: UInt32(truncatingIfNeeded: Int($0.bitPattern) + change)) }
      let difference = Self.taken(littleEndian(floats: moved), littleEndian(floats: floats), 4)
      #expect(difference == floats.flatMap { _ in littleEndian(step) }, "\(change)")
    }
  }

  @Test("Numbers are elements, the parts of complex ones, and bytes")
  func wordSizes() {
    for dtype in DType.allCases {
      let size = Difference.wordSize(dtype)
      switch dtype {
      case .c64: #expect(size == 4)
      case .c128: #expect(size == 8)
      default: #expect(size == max(1, dtype.bitWidth / 8), "\(dtype.name)")
      }
    }
  }
}
