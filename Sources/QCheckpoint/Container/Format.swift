import QCodec

/// The constants of the checkpoint format; Spec/Checkpoint.md in numbers.
enum Format {
  static let major: UInt16 = 1
  static let minor: UInt16 = 0
  static let magic: [UInt8] = [0x89, 0x51, 0x43, 0x4B, 0x0D, 0x0A, 0x1A, 0x0A]
  static let endMagic: [UInt8] = Array("QCKPTEND".utf8)
  static let alignment: UInt64 = 64
  static let headerSize = 64
  static let trailerSize = 96
  static let directoryHeaderSize = 64
  static let tensorRecordSize = 136
  static let chunkRecordSize = 32
  static let pairRecordSize = 56
  static let tableHeaderSize = 16

  static let maximumNameLength = 65_536
  static let maximumDims = 32
  static let maximumTensors: UInt64 = 1 << 32
  static let maximumMetadata: UInt64 = 256 << 20
  static let maximumFile: UInt64 = 1 << 63
  /// Source bytes of a lossless chunk; the last may be short.
  static let losslessChunk = 1 << 20
  /// No chunk stores more bytes: that of codes with escapes for each element has the most.
  static let longestPayload = 1 << 22

  /// The table offset of lossless tensors, which have none.
  static let noTable = UInt32.max
  /// The reference of tensors that have none.
  static let noReference = UInt64.max

  /// The next multiple of 64; positions lie within files, which end before 2^63.
  static func aligned(_ offset: UInt64) -> UInt64 { (offset + alignment - 1) & ~(alignment - 1) }
}

/// What a chunk holds; the raw value is the code that files store.
public enum ChunkKind: UInt8, Sendable {
  case codes = 0
  case scales = 1
  case lossless = 2
}

/// Appends little-endian fields.
struct ByteWriter {
  private(set) var bytes: [UInt8] = []

  /// A writer with room for what will be written, where that is known.
  init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

  mutating func write<Value: FixedWidthInteger>(_ value: Value) {
    // Safe: integers have no padding.
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func write(_ value: Double) { write(value.bitPattern) }

  mutating func write(_ value: Float) { write(value.bitPattern) }

  mutating func write(contentsOf other: [UInt8]) { bytes += other }

  mutating func write(zeros count: Int) { bytes += [UInt8](repeating: 0, count: count) }
}

/// Reads little-endian fields at offsets that the caller has checked against the count.
struct ByteFields {
  let bytes: [UInt8]

  @inline(__always)
  func read<Value: FixedWidthInteger & UnsignedInteger>(_ offset: Int, as type: Value.Type = Value.self) -> Value {
    precondition(offset >= 0 && offset + MemoryLayout<Value>.size <= bytes.count, "field outside the bytes")
    // Safe: the range was checked above, and integers have no invalid bit patterns.
    return unsafe bytes.withUnsafeBytes {
      unsafe Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self))
    }
  }

  func double(_ offset: Int) -> Double { Double(bitPattern: read(offset)) }

  /// A record of whole words, checked against the count once.
  @inline(__always)
  func words<let count: Int>(_ offset: Int) -> InlineArray<count, UInt64> {
    let size = count * MemoryLayout<UInt64>.size
    precondition(offset >= 0 && size <= bytes.count && offset <= bytes.count - size, "record outside the bytes")
    // Safe: the range was checked above, and integers have no invalid bit patterns.
    let stored = unsafe bytes.withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: offset, as: InlineArray<count, UInt64>.self)
    }
    return InlineArray { UInt64(littleEndian: stored[$0]) }
  }

  /// Calls `body` with bytes of a range, which is checked against the count.
  @inline(__always)
  func withBytes<Result>(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    unsafe bytes.withUnsafeBytes { unsafe body(UnsafeRawBufferPointer(rebasing: $0[range])) }
  }
}
