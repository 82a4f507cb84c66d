extension ScalarKernels {
  /// Unpacks `count` codes, one or more, from element `first` of a packed run; the inverse of `pack`.
  static func unpack(
    _ packed: UnsafePointer<UInt8>, first: Int, count: Int, bits: Int, into codes: UnsafeMutablePointer<UInt8>
  ) {
    if bits == 8 {
      unsafe codes.update(from: packed + first, count: count)
      return
    }
    let mask: UInt32 = 1 << UInt32(bits) - 1
    // Bits that were read and not yet taken, the last in the lowest place.
    var place = first * bits / 8
    var held = UInt32(unsafe packed[place])
    var left = 8 - first * bits % 8
    for i in 0..<count {
      if left < bits {
        place += 1
        held = unsafe held << 8 | UInt32(packed[place])
        left += 8
      }
      left -= bits
      unsafe codes[i] = UInt8(truncatingIfNeeded: held >> UInt32(left) & mask)
    }
  }

  /// value = map[code] · scale + 0, each operation rounded to float32; the sum turns −0 into +0.
  static func decode(
    _ codes: UnsafePointer<UInt8>, scales: UnsafePointer<Float>, count: Int, entries: UnsafePointer<Float>,
    into values: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<count {
      unsafe values[i] = entries[Int(codes[i])] * scales[i] + 0
    }
  }
}
