/// Chooses which elements of a chunk are escaped together, and writes their section.
struct EscapeWriter {
  private let dtype: DType
  private var runs: [(elements: Range<Int>, width: Int)] = []

  /// The section of elements whose codes do not serve.
  ///
  /// Neighbouring runs become one where that takes no more bytes; what lies between is then escaped with them.
  ///
  /// - Parameters:
  ///   - violations: the elements, ascending.
  ///   - width: the bytes that an element takes to be escaped.
  init(_ violations: [Int], dtype: DType, width: (Int) -> Int) {
    self.dtype = dtype
    for element in violations { take(element, width: width(element), width) }
  }

  private mutating func take(_ element: Int, width own: Int, _ width: (Int) -> Int) {
    if let last = runs.last {
      let (first, end) = (last.elements.lowerBound, last.elements.upperBound)
      // A longer gap costs more than a run of its own, whatever the widths.
      if element - end <= EscapeSection.runSize / 2, element - first < EscapeSection.longestRun {
        let joined = (end..<element).reduce(max(last.width, own)) { max($0, width($1)) }
        if joined * (element + 1 - first) <= last.width * (end - first) + EscapeSection.runSize + own {
          runs[runs.count - 1] = (first..<element + 1, joined)
          return
        }
      }
    }
    runs.append((element..<element + 1, own))
  }

  /// Whether there are any.
  var isEmpty: Bool { runs.isEmpty }

  /// The bytes of the section.
  var byteCount: Int {
    runs.reduce(EscapeSection.countSize) { $0 + EscapeSection.runSize + $1.elements.count * $1.width }
  }

  /// Appends the section; `pattern` gives the bits of an element at a width.
  func append(to payload: inout [UInt8], pattern: (Int, Int) -> UInt32) {
    payload.reserveCapacity(payload.count + byteCount)
    payload.append(word: UInt32(runs.count))
    for run in runs {
      payload.append(word: UInt32(run.elements.lowerBound))
      payload.append(word: UInt32(run.elements.count - 1) | UInt32(run.width) << 24)
    }
    for run in runs {
      for element in run.elements {
        let bits = pattern(element, run.width)
        for byte in 4 - run.width..<4 { payload.append(UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte))) }
      }
    }
  }
}

extension [UInt8] {
  fileprivate mutating func append(word: UInt32) {
    for byte in 0..<4 { append(UInt8(truncatingIfNeeded: word >> UInt32(8 * byte))) }
  }
}

/// The elements of a chunk as they are given, and as escapes would have them.
struct EscapeValues {
  let dtype: DType
  let isSigned: Bool
  /// In float32, exact.
  let values: [Float]

  /// The elements of a chunk's bytes.
  init(_ source: UnsafeRawBufferPointer, layout: TensorLayout) {
    dtype = layout.dtype
    isSigned = layout.scheme.signed
    values = unsafe layout.dtype.floats(source)
  }

  /// The bits of an element at a width, to nearest even; a 16-bit type's own in the upper half.
  func pattern(_ element: Int, _ width: Int) -> UInt32 {
    let value = values[element]
    // −0 is zero where there are no signs.
    let bits = value == 0 && !isSigned ? 0 : value.bitPattern
    if dtype == .f16 { return UInt32(ScalarKernels.half(Float(bitPattern: bits))) << 16 }
    switch width {
    case 2: return (bits + 0x7FFF + (bits >> 16 & 1)) & ~0xFFFF
    case 3: return (bits + 0x7F + (bits >> 8 & 1)) & ~0xFF
    default: return bits
    }
  }

  /// The narrowest width at which an element is finite, zero only if it is zero, and fulfils what is asked for.
  func width(_ element: Int, _ isGood: (_ decoded: Double, _ bound: Double) -> Bool) -> Int {
    let widths = EscapeSection.widths(of: dtype)
    for width in widths where width < widths.upperBound {
      let bits = pattern(element, width)
      let value = EscapeSection.value(bits, dtype)
      guard value.isFinite, value != 0 || values[element] == 0 else { continue }
      let reach = EscapeBounds.reach(width: width, dtype)
      if isGood(Double(value), EscapeBounds.absolute(bits, reach: reach)) { return width }
    }
    return widths.upperBound
  }
}
