/// How the values of a run of escapes are stored (Spec/Stream.md, *Escapes*).
package struct EscapeForm: Sendable, Equatable {
  /// Bits of a value: the upper ones of a float, or those of a multiple.
  package let bits: Int
  /// e of multiples of 2^e; nil where values are floats.
  package let exponent: Int?

  /// The upper bits of a float.
  init(bits: Int) { (self.bits, exponent) = (bits, nil) }

  /// Multiples of 2^e.
  init(bits: Int, exponent: Int) { (self.bits, self.exponent) = (bits, exponent) }

  /// Bytes of a value.
  package var byteCount: Int { (bits + 7) / 8 }

  // MARK: In files

  /// e is stored as its distance from this, of which 0 says that values are floats.
  private static let bias = 150
  /// The multiples that float32 holds without rounding, whatever they are.
  static let exponents = (1 - bias)...(255 - bias)
  /// The bits of multiples.
  static let multiples = [8, 16, 24]
  /// The bits of floats: sign and exponent at least. A 16-bit type has all of its own.
  static func floats(of dtype: DType) -> ClosedRange<Int> { dtype == .f32 ? 9...32 : 16...16 }

  /// The form of the upper 14 bits of a run's second word; nil for what the layout's tensor cannot have.
  init?(field: Int, layout: TensorLayout) {
    let (bits, biased) = (field & 0x3F, field >> 6)
    if biased == 0 {
      guard Self.floats(of: layout.dtype).contains(bits) else { return nil }
      self.init(bits: bits)
    } else {
      guard Self.multiples.contains(bits), layout.hasMultiples else { return nil }
      self.init(bits: bits, exponent: biased - Self.bias)
    }
  }

  /// The upper 14 bits of a run's second word.
  var field: Int { (exponent.map { $0 + Self.bias } ?? 0) << 6 | bits }

  /// The form that holds the values of both, if any does.
  func joined(with other: EscapeForm) -> EscapeForm? {
    guard exponent == other.exponent else { return nil }
    return bits >= other.bits ? self : other
  }

  // MARK: Values

  /// The pattern of a stored value: a float32's, of a 16-bit type its own in the upper half; nil where bits are set that
  /// the form has not, or a multiple is beyond float32. Integers alone, so that no environment of the caller's matters.
  func pattern(stored: UInt32) -> UInt32? {
    let room = UInt32(8 * byteCount)
    guard let exponent else {
      guard stored & (1 << (room - UInt32(bits)) - 1) == 0 else { return nil }
      return stored << (32 - room)
    }
    let multiple = Int32(bitPattern: stored << (32 - room)) >> Int32(32 - room)
    return Self.pattern(multiple: multiple, exponent: exponent)
  }

  private static func pattern(multiple: Int32, exponent: Int) -> UInt32? {
    let magnitude = multiple.magnitude
    guard magnitude > 0 else { return 0 }
    let top = 31 - magnitude.leadingZeroBitCount
    let sign: UInt32 = multiple < 0 ? 0x8000_0000 : 0
    guard exponent + top <= 127 else { return nil }
    guard exponent + top >= -126 else { return sign | magnitude << UInt32(exponent + 149) }
    return sign | UInt32(exponent + top + 127) << 23 | magnitude << UInt32(23 - top) & 0x7F_FFFF
  }
}

extension TensorLayout {
  /// Whether escapes may be multiples: a step of their own is no bound relative to the element or to a divisor.
  var hasMultiples: Bool { dtype == .f32 && scheme.map != .log && scheme.domain == .value }
}
