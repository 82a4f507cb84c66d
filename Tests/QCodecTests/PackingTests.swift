import CQCodecKernels
import Testing

@testable import QCodec

/// Codes of every width as a string of bits: the reference and the kernels of every level against the definition.
@Suite struct PackingTests {
  static let levels = KernelLevel.allCases.filter(\.isSupported)

  private static func codes(_ count: Int, bits: Int, seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8(random.next() >> 20 & (1 << UInt64(bits) - 1)) }
  }

  private static func pack(_ codes: [UInt8], bits: Int, _ level: KernelLevel) -> [UInt8] {
    // A byte more, which is to stay as it is.
    var packed = [UInt8](repeating: 0xAA, count: (codes.count * bits + 7) / 8 + 1)
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe packed.withUnsafeMutableBufferPointer { packed in
        let (source, target) = (codes.baseAddress!, packed.baseAddress!)
        if level == .scalar {
          unsafe ScalarKernels.pack(source, count: codes.count, bits: bits, into: target)
        } else {
          unsafe qcodec_pack_codes(level.rawValue, source, codes.count, Int32(bits), target)
        }
      }
    }
    return packed
  }

  private static func unpack(_ packed: [UInt8], _ range: Range<Int>, bits: Int, _ level: KernelLevel) -> [UInt8] {
    var codes = [UInt8](repeating: 0xAA, count: range.count + 1)
    unsafe packed.withUnsafeBufferPointer { packed in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        let (source, target) = (packed.baseAddress!, codes.baseAddress!)
        if level == .scalar {
          unsafe ScalarKernels.unpack(source, first: range.lowerBound, count: range.count, bits: bits, into: target)
        } else {
          unsafe qcodec_unpack_codes(level.rawValue, source, range.lowerBound, range.count, Int32(bits), target)
        }
      }
    }
    return codes
  }

  @Test("Every number of codes is packed as the definition says, and nothing behind it is written", arguments: levels)
  func packing(level: KernelLevel) {
    for bits in Scheme.widths {
      for count in Array(1...80) + [1000, 2047] {
        let codes = Self.codes(count, bits: bits, seed: UInt64(count))
        let packed = Self.pack(codes, bits: bits, level)
        #expect(packed == packedCodes(codes, bits: bits) + [0xAA], "\(bits) bits, \(count) codes")
      }
    }
  }

  @Test("Codes come back from every place of the string", arguments: levels)
  func unpacking(level: KernelLevel) {
    for bits in Scheme.widths {
      let codes = Self.codes(130, bits: bits, seed: UInt64(bits))
      let packed = packedCodes(codes, bits: bits)
      for first in 0..<codes.count {
        for end in Set([first + 1, first + 2, first + 9, first + 41, codes.count]) where end <= codes.count {
          // Cut off behind the last code: nothing beyond it may be read.
          let part = Array(packed[..<((end * bits + 7) / 8)])
          #expect(
            Self.unpack(part, first..<end, bits: bits, level) == Array(codes[first..<end]) + [0xAA],
            "\(bits) bits, codes \(first) to \(end)")
        }
      }
    }
  }

  @Test("Bytes of codes are as many as hold their bits, and do not overflow")
  func counts() {
    for bits in Scheme.widths {
      for count in 0...64 {
        #expect(TensorLayout.codeByteCount(elements: count, bits: bits) == (count * bits + 7) / 8)
      }
      let most = 1 << 60 - 1
      #expect(TensorLayout.codeByteCount(elements: most, bits: bits) == 1 << 57 * bits - (bits < 8 ? 0 : 1))
    }
  }
}
