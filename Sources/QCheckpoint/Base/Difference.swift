import QCodec

/// The lossless difference of two payloads, number by number, in a form that compresses.
///
/// Numbers are taken as unsigned integers, whatever they are, and subtracted modulo 2^(8w). For floats of one sign that counts
/// the representable numbers between them. What comes of it is mapped to 0, −1, 1, −2, … = 0, 1, 2, 3, … so that a small
/// step of either sign has zeros in its upper bytes. The exclusive or of the two, which peers take, is large wherever a carry
/// runs through the bits.
enum Difference {
  /// Bytes of a number in a chunk of a tensor: those of an element, or of either part of a complex one; 1 for elements of less,
  /// and for scales and codes.
  static func wordSize(_ kind: ChunkKind, _ dtype: DType) -> Int { kind == .lossless ? wordSize(dtype) : 1 }

  static func wordSize(_ dtype: DType) -> Int {
    switch dtype {
    case .c64: 4
    case .c128: 8
    default: dtype.planeCount
    }
  }

  /// Puts the difference of `source` to `base` into `target`; all have equally many bytes, a multiple of `wordSize`.
  static func take(
    of source: UnsafeRawBufferPointer, to base: UnsafeRawBufferPointer, wordSize: Int,
    into target: UnsafeMutableRawBufferPointer
  ) {
    switch wordSize {
    case 8: unsafe take(source, base, target, UInt64.self)
    case 4: unsafe take(source, base, target, UInt32.self)
    case 2: unsafe take(source, base, target, UInt16.self)
    default: unsafe take(source, base, target, UInt8.self)
    }
  }

  /// The inverse: adds a difference to the base's payload, which `target` holds.
  static func add(_ difference: UnsafeRawBufferPointer, wordSize: Int, to target: UnsafeMutableRawBufferPointer) {
    switch wordSize {
    case 8: unsafe add(difference, target, UInt64.self)
    case 4: unsafe add(difference, target, UInt32.self)
    case 2: unsafe add(difference, target, UInt16.self)
    default: unsafe add(difference, target, UInt8.self)
    }
  }

  // Safe, both: places are multiples of the size that lie within the shortest of the buffers.

  @inline(__always)
  private static func take<Word: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
    _ source: UnsafeRawBufferPointer, _ base: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer,
    _: Word.Type
  ) {
    precondition(source.count == base.count && source.count == target.count, "payloads of one size")
    let size = MemoryLayout<Word>.size
    guard let one = source.baseAddress, let other = base.baseAddress, let result = target.baseAddress else { return }
    for place in 0..<source.count / size {
      let offset = place &* size
      let new = unsafe one.loadUnaligned(fromByteOffset: offset, as: Word.self)
      let step = new &- (unsafe other.loadUnaligned(fromByteOffset: offset, as: Word.self))
      let sign = 0 &- (step &>> Word(truncatingIfNeeded: Word.bitWidth - 1))
      unsafe result.storeBytes(of: (step &<< 1) ^ sign, toByteOffset: offset, as: Word.self)
    }
  }

  @inline(__always)
  private static func add<Word: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
    _ difference: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _: Word.Type
  ) {
    precondition(difference.count == target.count, "payloads of one size")
    let size = MemoryLayout<Word>.size
    guard let steps = difference.baseAddress, let result = target.baseAddress else { return }
    for place in 0..<target.count / size {
      let offset = place &* size
      let mapped = unsafe steps.loadUnaligned(fromByteOffset: offset, as: Word.self)
      let step = (mapped &>> 1) ^ (0 &- (mapped & 1))
      let old = unsafe result.loadUnaligned(fromByteOffset: offset, as: Word.self)
      unsafe result.storeBytes(of: old &+ step, toByteOffset: offset, as: Word.self)
    }
  }
}
