import CQCodecKernels
import Testing

@testable import QCodec

/// The looks at values and the conversions by kernels equal the reference's.
@Suite("Scans and conversions by kernels")
struct ScanKernelTests {
  static let levels = KernelEquivalenceTests.levels
  static let dtypes: [DType] = [.f32, .bf16, .f16]

  private struct Seen: Equatable {
    let index: UInt64?
    let negative: UInt64?
    let greatest: UInt32
    let least: UInt32

    init(_ scan: ValueScan) {
      index = scan.firstNonFinite?.index
      negative = scan.firstNegative?.index
      greatest = scan.greatestMagnitude.bitPattern
      least = scan.leastNonzeroMagnitude.bitPattern
    }
  }

  /// Patterns of a dtype; those that are not finite as often as asked for.
  private func bytes(_ count: Int, dtype: DType, signed: Bool, finite: Bool, seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    var result: [UInt8] = []
    for _ in 0..<count {
      let (bits, wide) = (random.next(), dtype == .f32)
      var pattern = UInt32(truncatingIfNeeded: wide ? bits : bits & 0xFFFF)
      if bits >> 60 == 0 { pattern = 0 }
      let exponent: UInt32 = wide ? 0x7F80_0000 : dtype == .bf16 ? 0x7F80 : 0x7C00
      if pattern & exponent == exponent, finite || bits >> 56 & 7 != 0 { pattern ^= exponent }
      if !signed { pattern &= wide ? 0x7FFF_FFFF : 0x7FFF }
      for shift in 0..<(wide ? 4 : 2) { result.append(UInt8(truncatingIfNeeded: pattern >> (8 * shift))) }
    }
    return result
  }

  @Test("Scans of every length, from any address", arguments: levels, dtypes)
  func scans(_ level: KernelLevel, _ dtype: DType) {
    for count in 0...150 {
      for (signed, finite) in [(true, true), (false, true), (true, false), (false, false)] {
        let bytes = bytes(count, dtype: dtype, signed: signed, finite: finite, seed: UInt64(count))
        let shifted = [0] + bytes
        unsafe shifted.withUnsafeBytes { shifted in
          let source = unsafe UnsafeRawBufferPointer(rebasing: shifted[1...])
          let seen = [KernelLevel.scalar, level].map { level in
            var scan = ValueScan()
            for _ in 0..<2 {
              unsafe scan.scan(source: source, dtype: dtype, startingAt: 1000, kernels: level)
            }
            return Seen(scan)
          }
          #expect(seen[1] == seen[0], "\(count) elements, signed \(signed), finite \(finite)")
        }
      }
    }
  }

  @Test("An offender is found wherever it stands", arguments: levels, dtypes)
  func offenders(_ level: KernelLevel, _ dtype: DType) throws {
    for value in [Float.nan, -.nan, .infinity, -.infinity, -1, -0.0] {
      for at in [0, 15, 16, 2047, 2048, 4099] {
        var x = (0..<4100).map { Float($0 % 50) }
        if dtype != .f16 { x[at] = value }
        var bytes = try Narrow.bytes(x, dtype: dtype)
        if dtype == .f16 { put(value, at, into: &bytes) }
        let seen = unsafe bytes.withUnsafeBytes { source in
          [KernelLevel.scalar, level].map { level in
            var scan = ValueScan()
            unsafe scan.scan(source: source, dtype: dtype, startingAt: 7, kernels: level)
            return Seen(scan)
          }
        }
        #expect(seen[1] == seen[0], "\(value) at \(at)")
        #expect((seen[1].index != nil) == !value.isFinite && (seen[1].negative != nil) == (value < 0))
      }
    }
  }

  /// Puts a value into float16, NaN as a signalling one.
  private func put(_ value: Float, _ at: Int, into bytes: inout [UInt8]) {
    let sign: UInt8 = value.sign == .minus ? 0x80 : 0
    bytes[2 * at] = value.isNaN ? 1 : 0
    bytes[2 * at + 1] = sign | (value == 0 ? 0 : value == -1 ? 0x3C : 0x7C)
  }

  @Test("Every pattern of 16 bits widens as the reference does, NaN too", arguments: levels)
  func widening(_ level: KernelLevel) {
    let patterns = Array(UInt16.min...UInt16.max) + (0..<37).map { UInt16($0) &* 7919 }
    for dtype in [DType.bf16, .f16] {
      for start in [0, 1, 5] {
        let source = Array(patterns[start...])
        var (own, expected) = ([Float](repeating: 0, count: source.count), [Float](repeating: 0, count: source.count))
        unsafe source.withUnsafeBytes { source in
          unsafe qcodec_widen(level.rawValue, source.baseAddress, dtype.kernelCode, own.count, &own)
          unsafe ScalarKernels.load(source.baseAddress!, dtype: dtype, count: expected.count, into: &expected)
        }
        #expect(own.map(\.bitPattern) == expected.map(\.bitPattern))
      }
    }
  }

  @Test("Narrowing rounds as the reference does, midpoints and NaN too", arguments: levels)
  func narrowing(_ level: KernelLevel) {
    var random = SeededGenerator(seed: 5)
    var values: [Float] = []
    for half in stride(from: UInt16(0), through: .max, by: 3) {
      for wide in [UInt32(half) << 16 | 0x8000, UInt32(ScalarKernels.float(half: half).bitPattern) &+ 0x1000] {
        for step in 0..<3 as Range<UInt32> { values.append(Float(bitPattern: wide &+ step &- 1)) }
      }
      values.append(Float(bitPattern: UInt32(truncatingIfNeeded: random.next())))
    }
    for dtype in [DType.bf16, .f16] {
      for count in [values.count, 1, 15, 17, 31] {
        var (own, expected) = ([UInt16](repeating: 0, count: count), [UInt16](repeating: 0, count: count))
        unsafe values.withUnsafeBufferPointer { values in
          unsafe qcodec_narrow(level.rawValue, values.baseAddress, dtype.kernelCode, count, &own)
          unsafe expected.withUnsafeMutableBytes {
            unsafe ScalarKernels.store(values.baseAddress!, count: count, dtype: dtype, into: $0.baseAddress!)
          }
        }
        #expect(own == expected)
      }
    }
  }
}
