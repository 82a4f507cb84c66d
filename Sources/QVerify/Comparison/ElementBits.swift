import QCodec

/// Elements of two tensors of one dtype, told apart by their bits.
enum ElementBits {
  /// How many elements of two pieces of equal length differ.
  ///
  /// Elements of less than a byte are taken as packed from the lowest bit of each byte up.
  static func differing(_ a: [UInt8], _ b: [UInt8], width: Int) -> UInt64 {
    if a == b { return 0 }
    return switch width {
    case 8: differing(a, b, as: UInt8.self)
    case 16: differing(a, b, as: UInt16.self)
    case 32: differing(a, b, as: UInt32.self)
    case 64: differing(a, b, as: UInt64.self)
    case 128: differing(a, b, as: UInt128.self)
    default: differing(a, b, bits: width)
    }
  }

  /// Whether an element of whole bytes is the same in both.
  static func areSame(_ a: [UInt8], _ b: [UInt8], _ index: Int, width: Int) -> Bool {
    let size = width / 8
    return a[index * size..<(index + 1) * size] == b[index * size..<(index + 1) * size]
  }

  private static func differing<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ a: [UInt8], _ b: [UInt8], as type: Bits.Type
  ) -> UInt64 {
    let size = MemoryLayout<Bits>.size
    return unsafe a.withBytes { a in
      unsafe b.withBytes { b in
        stride(from: 0, to: a.count - size + 1, by: size).reduce(0) { count, offset in
          let one = unsafe a.loadUnaligned(fromByteOffset: offset, as: Bits.self)
          let other = unsafe b.loadUnaligned(fromByteOffset: offset, as: Bits.self)
          return count + (one == other ? 0 : 1)
        }
      }
    }
  }

  private static func differing(_ a: [UInt8], _ b: [UInt8], bits: Int) -> UInt64 {
    var count: UInt64 = 0
    for element in 0..<a.count * 8 / bits {
      let differs = (element * bits..<(element + 1) * bits).contains { bit in
        let changed = a[bit / 8] ^ b[bit / 8]
        return changed >> UInt8(bit % 8) & 1 == 1
      }
      if differs { count += 1 }
    }
    return count
  }
}
