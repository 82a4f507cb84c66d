extension ScalarKernels {
  /// Unpacks `count` codes from element `first` of a packed run; the inverse of `pack`.
  static func unpack(
    _ packed: UnsafePointer<UInt8>, first: Int, count: Int, bits: Int, into codes: UnsafeMutablePointer<UInt8>
  ) {
    if bits == 8 {
      unsafe codes.update(from: packed + first, count: count)
      return
    }
    for i in 0..<count {
      let byte = unsafe packed[(first + i) >> 1]
      unsafe codes[i] = (first + i) & 1 == 0 ? byte >> 4 : byte & 15
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
