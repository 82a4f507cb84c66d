extension ScalarKernels {
  /// Takes values that are finite and not negative into the ends of their block.
  static func scan(_ x: UnsafePointer<Float>, count: Int, into ends: inout LogEnds) {
    var (least, greatest, zeros) = (ends.leastLessOne, ends.greatest, false)
    for i in 0..<count {
      let pattern = unsafe x[i].bitPattern & 0x7FFF_FFFF
      least = min(least, pattern &- 1)
      greatest = max(greatest, pattern)
      zeros = zeros || pattern == 0
    }
    ends.leastLessOne = least
    ends.greatest = greatest
    ends.hasZeros = ends.hasZeros || zeros
  }

  /// The codes of values of one block: k = rint((P(x) − P(lo')) · (K / D)), each operation in float64.
  static func logEncode(
    _ x: UnsafePointer<Float>, count: Int, block: LogBlock, into codes: UnsafeMutablePointer<UInt8>
  ) {
    let factor = block.span == 0 ? 0 : block.steps / block.span
    for i in 0..<count {
      let pattern = unsafe x[i].bitPattern & 0x7FFF_FFFF
      let place = Double(pattern &- block.base) * factor
      let code = UInt8(truncatingIfNeeded: rint(pattern == 0 ? 0 : place)) &+ block.first
      unsafe codes[i] = pattern == 0 ? 0 : code
    }
  }

  /// The values of codes of one block: the float whose pattern is P(lo') + rint(k · (D / K)); code 0 of a block with
  /// zeros is +0.
  static func logDecode(
    _ codes: UnsafePointer<UInt8>, count: Int, block: LogBlock, into values: UnsafeMutablePointer<Float>
  ) {
    let step = block.step
    for i in 0..<count {
      let code = unsafe codes[i]
      let pattern = block.base &+ rint(Double(code &- block.first) * step)
      // Only in a block with zeros is a code below the first.
      unsafe values[i] = code < block.first ? 0 : Float(bitPattern: pattern)
    }
  }

  /// Moves codes up with the probability of the pattern's place between its two neighbours.
  static func logStochastic(
    _ x: UnsafePointer<Float>, count: Int, block: LogBlock, counter: StochasticCounter, firstIndex: UInt64,
    codes: UnsafeMutablePointer<UInt8>
  ) {
    func pattern(_ k: Int) -> UInt32 { block.base &+ rint(Double(k) * block.step) }
    for i in 0..<count where unsafe x[i] != 0 {
      let own = unsafe x[i].bitPattern
      var k = unsafe Int(codes[i] &- block.first)
      if pattern(k) > own { k -= 1 }
      guard pattern(k) != own else {
        unsafe codes[i] = UInt8(k) &+ block.first
        continue
      }
      let (below, above) = (pattern(k), pattern(k + 1))
      let place = Double(own - below) / Double(above - below)
      let random = Double(counter.number(at: firstIndex &+ UInt64(i))) * 0x1p-24
      unsafe codes[i] = UInt8(random < place ? k + 1 : k) &+ block.first
    }
  }

  /// The greatest code of each block of a chunk.
  static func greatestCodes(_ codes: UnsafePointer<UInt8>, count: Int, bits: Int, blockSize: Int) -> [UInt8] {
    let scratch = SegmentScratch()
    var result = [UInt8](repeating: 0, count: (count + blockSize - 1) / blockSize)
    for start in stride(from: 0, to: count, by: segment) {
      let length = min(segment, count - start)
      unsafe unpack(codes, first: start, count: length, bits: bits, into: scratch.codes)
      LogBlock.forEachRun(from: start, count: length, blockSize: blockSize) { block, offset, run in
        var greatest = result[block]
        for i in offset..<offset + run { greatest = unsafe max(greatest, scratch.codes[i]) }
        result[block] = greatest
      }
    }
    return result
  }

  /// A float64 of 0 to 2^31 rounded to nearest even: the sum with 2^52 has no bits below one.
  @inline(__always)
  private static func rint(_ value: Double) -> UInt32 {
    UInt32(truncatingIfNeeded: (value + 0x1p52).bitPattern)
  }
}
