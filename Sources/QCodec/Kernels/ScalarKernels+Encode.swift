extension ScalarKernels {
  /// The extreme of a segment and what may make it unfit for quantization.
  struct Extreme {
    /// The element of largest magnitude with its sign, the first among equals; +0 if all are zero.
    var value: Float = 0
    /// The segment holds a NaN or an infinity.
    var isNonFinite = false
    /// The segment holds an element below zero (−0 is not).
    var isNegative = false
  }

  /// Scans a segment, continuing from the extreme of those before it.
  static func scan(_ x: UnsafePointer<Float>, count: Int, into extreme: inout Extreme) {
    // Magnitudes compare as integers, which also orders NaN above everything.
    var greatest: UInt32 = 0
    var greatestSigned: UInt32 = 0
    for i in 0..<count {
      let bits = unsafe x[i].bitPattern
      greatest = max(greatest, bits & 0x7FFF_FFFF)
      greatestSigned = max(greatestSigned, bits)
    }
    if greatest >= 0x7F80_0000 { extreme.isNonFinite = true }
    if greatestSigned > 0x8000_0000 { extreme.isNegative = true }
    guard greatest > extreme.value.bitPattern & 0x7FFF_FFFF else { return }
    for i in 0..<count where unsafe x[i].bitPattern & 0x7FFF_FFFF == greatest {
      extreme.value = unsafe x[i]
      return
    }
  }

  /// y = x / scale in float32; +0 where the scale is zero. `y` may be `x`.
  static func normalise(
    _ x: UnsafePointer<Float>, scales: UnsafePointer<Float>, count: Int, into y: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<count {
      let scale = unsafe scales[i]
      unsafe y[i] = scale == 0 ? 0 : x[i] / scale
    }
  }

  /// The code of each y in [−1, 1]: the number of thresholds below it.
  static func nearest(
    _ y: UnsafePointer<Float>, count: Int, search: CodeSearch, into codes: UnsafeMutablePointer<UInt8>
  ) {
    let steps = search.steps
    unsafe search.first.withUnsafeBufferPointer { first in
      unsafe search.padded.withUnsafeBufferPointer { thresholds in
        // Safe: a bucket is 16 bits, `first` has 65,536 entries; a code is at most 255 and steps at most 255 beyond it,
        // `padded` has 512 entries.
        let first = unsafe first.baseAddress.unsafelyUnwrapped
        let thresholds = unsafe thresholds.baseAddress.unsafelyUnwrapped
        for i in 0..<count {
          let value = unsafe y[i]
          var code = unsafe Int(first[Int(value.bitPattern >> 16)])
          for _ in 0..<steps { code &+= unsafe value > thresholds[code] ? 1 : 0 }
          unsafe codes[i] = UInt8(truncatingIfNeeded: code)
        }
      }
    }
  }

  /// Moves each code to the neighbour across y with the probability of y's place between them.
  ///
  /// The 24-bit number of an element is the top of a counter hash of seed, tensor name and index.
  static func stochastic(
    _ y: UnsafePointer<Float>, count: Int, entries: UnsafePointer<Float>, distinct: Int, counter: StochasticCounter,
    firstIndex: UInt64, codes: UnsafeMutablePointer<UInt8>
  ) {
    for i in 0..<count {
      let value = unsafe y[i]
      let code = unsafe Int(codes[i])
      let entry = unsafe entries[code]
      if value == entry { continue }
      let low = value > entry ? code : code - 1
      guard low >= 0, low + 1 < distinct else { continue }
      let (below, above) = unsafe (Double(entries[low]), Double(entries[low + 1]))
      let place = (Double(value) - below) / (above - below)
      let random = Double(counter.number(at: firstIndex &+ UInt64(i))) * 0x1p-24
      unsafe codes[i] = UInt8(truncatingIfNeeded: random < place ? low + 1 : low)
    }
  }

  /// Packs codes to a string of bits: the first code first, the most significant bit of each first, zeros behind the last.
  static func pack(
    _ codes: UnsafePointer<UInt8>, count: Int, bits: Int, into target: UnsafeMutablePointer<UInt8>
  ) {
    if bits == 8 {
      unsafe target.update(from: codes, count: count)
      return
    }
    // Bits that are not yet written, the last in the lowest place.
    var (held, left, place) = (UInt32(0), 0, 0)
    for i in 0..<count {
      held = unsafe held << UInt32(bits) | UInt32(codes[i])
      left += bits
      if left >= 8 {
        left -= 8
        unsafe target[place] = UInt8(truncatingIfNeeded: held >> UInt32(left))
        place += 1
      }
    }
    if left > 0 { unsafe target[place] = UInt8(truncatingIfNeeded: held << UInt32(8 - left)) }
  }
}
