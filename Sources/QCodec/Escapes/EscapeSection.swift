/// The elements of a chunk whose values stand beside its codes, parsed and checked (Spec/Stream.md, *Escapes*).
package struct EscapeSection: Sendable {
  /// Neighbouring elements, counted from the chunk's first, that are escaped in one form.
  package struct Run: Sendable, Equatable {
    package let elements: Range<Int>
    package let form: EscapeForm
    /// Where in the payload its values begin: their lowest bytes, then their next ones.
    package let start: Int

    /// What is stored of an element.
    @inline(__always)
    func stored(_ payload: UnsafeRawBufferPointer, _ element: Int) -> UInt32 {
      var at = start + element - elements.lowerBound
      var value: UInt32 = 0
      for byte in 0..<form.byteCount {
        value |= unsafe UInt32(payload[at]) << UInt32(8 * byte)
        at += elements.count
      }
      return value
    }
  }

  /// Bytes before the runs, and of a run before its values.
  static let (countSize, runSize) = (4, 8)

  /// In ascending order; none overlap.
  package private(set) var runs: [Run] = []
  private let dtype: DType

  /// The section of a chunk without escapes.
  init(_ layout: TensorLayout) { dtype = layout.dtype }

  /// Whether no element is escaped.
  package var isEmpty: Bool { runs.isEmpty }

  /// The elements that are escaped.
  package var count: Int { runs.reduce(0) { $0 + $1.elements.count } }

  /// The sizes of payloads that hold a section behind `base` bytes: a run for each element, of four bytes, at most.
  static func payloadByteCounts(_ base: Int, elements: Int) -> ClosedRange<Int> {
    base + countSize...base + countSize + elements * (runSize + 4)
  }

  /// Reads the section that begins at byte `base` of a payload and ends with it; at least four bytes are there.
  ///
  /// Throws `invalidEscape` with the byte within the payload for what no encoder writes. O(runs and values).
  init(
    _ payload: UnsafeRawBufferPointer, from base: Int, elements: Int, layout: TensorLayout
  ) throws(QCodecError) {
    dtype = layout.dtype
    let count = unsafe Self.word(payload, base)
    // Each count is held against the bytes that are there before anything is allocated.
    guard count <= (payload.count - base - Self.countSize) / Self.runSize else {
      throw Self.refuse("\(count) runs of escapes in \(payload.count - base) bytes", base)
    }
    var start = base + Self.countSize + count * Self.runSize
    var next = 0
    runs.reserveCapacity(count)
    for index in 0..<count {
      let at = base + Self.countSize + index * Self.runSize
      let (first, word) = unsafe (Self.word(payload, at), Self.word(payload, at + 4))
      // 18 bits: a whole chunk at most.
      let length = word & 0x3FFFF + 1
      guard let form = EscapeForm(field: word >> 18, layout: layout) else {
        throw Self.refuse("escapes of a form that no tensor of \(dtype.name) has under its scheme", at + 4)
      }
      guard first >= next, first < elements, length <= elements - first else {
        throw Self.refuse("a run of \(length) escapes from element \(first) of \(elements), after \(next)", at)
      }
      guard length * form.byteCount <= payload.count - start else { throw Self.refuse("escapes are cut short", at) }
      runs.append(Run(elements: first..<first + length, form: form, start: start))
      start += length * form.byteCount
      next = first + length
    }
    guard start == payload.count else {
      throw Self.refuse("\(payload.count - start) bytes after the last escape", start)
    }
    for run in runs { try unsafe check(run, of: payload, isSigned: layout.scheme.signed) }
  }

  private static func refuse(_ message: String, _ offset: Int) -> QCodecError {
    QCodecError(.invalidEscape, message, offset: UInt64(offset))
  }

  private static func word(_ payload: UnsafeRawBufferPointer, _ offset: Int) -> Int {
    unsafe Int(UInt32(littleEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
  }

  /// Values have no bits beyond their form, are finite, and under an unsigned map they have no sign.
  private func check(_ run: Run, of payload: UnsafeRawBufferPointer, isSigned: Bool) throws(QCodecError) {
    let exponent: UInt32 = dtype == .f16 ? 0x7C00_0000 : 0x7F80_0000
    for element in run.elements {
      let at = run.start + element - run.elements.lowerBound
      guard let pattern = unsafe run.form.pattern(stored: run.stored(payload, element)) else {
        throw Self.refuse("an escape with bits that its form has not, or beyond float32", at)
      }
      guard pattern & exponent != exponent else { throw Self.refuse("an escape that is not finite", at) }
      guard isSigned || pattern >> 31 == 0 else { throw Self.refuse("a negative escape under an unsigned map", at) }
    }
  }

  // MARK: Values

  /// The float32 of a pattern.
  static func value(_ pattern: UInt32, _ dtype: DType) -> Float {
    dtype == .f16 ? ScalarKernels.float(half: UInt16(pattern >> 16)) : Float(bitPattern: pattern)
  }

  /// The first run that ends after an element; as many as there are, if none does. O(log runs).
  private func firstRun(notBefore element: Int) -> Int {
    var (low, high) = (0, runs.count)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].elements.upperBound > element { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// Calls `body` with (element, pattern) for each escaped element of a range.
  @inline(__always)
  func forEach(
    of elements: Range<Int>, from payload: UnsafeRawBufferPointer, _ body: (Int, UInt32) -> Void
  ) {
    for run in runs[firstRun(notBefore: elements.lowerBound)...] {
      guard run.elements.lowerBound < elements.upperBound else { return }
      for element in run.elements.clamped(to: elements) {
        // Every value was checked when the section was read.
        unsafe body(element, run.form.pattern(stored: run.stored(payload, element)) ?? 0)
      }
    }
  }

  /// Puts the values of escaped elements in the place of what their codes decode to, in the tensor's dtype.
  func lay(
    over target: UnsafeMutableRawBufferPointer, elements: Range<Int>, from payload: UnsafeRawBufferPointer
  ) {
    let isWide = dtype == .f32
    unsafe forEach(of: elements, from: payload) { element, pattern in
      let place = element - elements.lowerBound
      if isWide {
        unsafe target.storeBytes(of: pattern.littleEndian, toByteOffset: place * 4, as: UInt32.self)
      } else {
        unsafe target.storeBytes(of: UInt16(pattern >> 16).littleEndian, toByteOffset: place * 2, as: UInt16.self)
      }
    }
  }

  /// Likewise, in the place of the divisors that codes of a second moment make.
  func lay(
    overDivisors target: UnsafeMutablePointer<Float>, elements: Range<Int>, from payload: UnsafeRawBufferPointer
  ) {
    unsafe forEach(of: elements, from: payload) { element, pattern in
      let value = Self.value(pattern, dtype)
      unsafe target[element - elements.lowerBound] = value > 0 ? value.squareRoot() : 1
    }
  }
}

extension Scheme {
  /// Streams in memory have no escapes: their sizes follow from shape and scheme.
  func refuseEscapes() throws(QCodecError) {
    guard !hasEscapes else {
      throw QCodecError(.unsupportedScheme, "escapes belong to checkpoints; a stream in memory has none")
    }
  }
}
