import QCodec

/// A .npy array (format versions 1.0, 2.0 and 3.0): little-endian, C order, of a dtype that checkpoints have.
///
/// Arrays of objects, which are pickles, of strings and of structures, big-endian ones and those in Fortran order are
/// refused, each with what to do.
public struct NumpyFile: Sendable {
  /// The longest header accepted, in bytes; NumPy's own readers stop at 10,000.
  static let maximumHeader = 1 << 16
  /// The first bytes of which every header can be read: the fixed part and the longest text.
  static let longestStart = 12 + maximumHeader

  /// The type of the elements.
  public let dtype: DType
  /// The lengths of the axes, C order.
  public let shape: [UInt64]
  /// The elements.
  public let source: any TensorSource

  /// Reads and checks the header of a file; throws `io` and, with the byte offset of the defect, `invalidNumpy`.
  public init(input: InputFile) throws(QCodecError) {
    let start = try input.bytes(at: 0, count: Int(min(input.byteCount, UInt64(Self.longestStart))))
    let header = try NumpyHeader(start: start, byteCount: input.byteCount)
    dtype = header.dtype
    shape = header.shape
    source = FileRangeSource(file: input, offset: header.dataOffset, byteCount: header.dataBytes)
  }

  /// Reads and checks the header of the file at `path`; throws as `init(input:)`.
  public init(path: String) throws(QCodecError) {
    try self.init(input: InputFile(path: path))
  }
}

/// What a .npy header says, checked against the file's length.
struct NumpyHeader {
  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  let dtype: DType
  let shape: [UInt64]
  let dataOffset: UInt64
  let dataBytes: UInt64

  /// - Parameters:
  ///   - start: the first bytes of the file, `NumpyFile.longestStart` of them where it has so many.
  ///   - byteCount: the file's length.
  init(start: [UInt8], byteCount: UInt64) throws(QCodecError) {
    let text = try Self.text(start)
    var parser = NumpyHeaderParser(Array(start[text]), base: UInt64(text.lowerBound))
    try parser.parse()
    guard let descr = parser.descr else { throw parser.error("the header lacks 'descr'") }
    guard let isFortranOrder = parser.isFortranOrder else { throw parser.error("the header lacks 'fortran_order'") }
    guard let shape = parser.shape else { throw parser.error("the header lacks 'shape'") }
    dtype = try Self.dtype(descr, at: UInt64(text.lowerBound))
    guard !isFortranOrder else {
      throw QCodecError(
        .invalidNumpy, "the array is in Fortran order; save numpy.ascontiguousarray(a)",
        offset: UInt64(text.lowerBound))
    }
    self.shape = shape
    dataOffset = UInt64(text.upperBound)
    do throws(QCodecError) {
      dataBytes = try dtype.byteCount(elements: try TensorLayout.elementCount(of: shape))
    } catch {
      throw QCodecError(.invalidNumpy, error.message, offset: UInt64(text.lowerBound))
    }
    guard dataBytes == byteCount - dataOffset else {
      throw QCodecError(
        .invalidNumpy, "\(dtype.name) \(shape) has \(dataBytes) bytes, \(byteCount - dataOffset) follow the header",
        offset: dataOffset)
    }
  }

  /// Where the header's text lies.
  private static func text(_ start: [UInt8]) throws(QCodecError) -> Range<Int> {
    func cut() -> QCodecError {
      QCodecError(.invalidNumpy, "the file ends within its header", offset: UInt64(start.count))
    }
    guard start.count >= 8 else { throw cut() }
    guard start.starts(with: magic) else { throw QCodecError(.invalidNumpy, "not a .npy array", offset: 0) }
    guard (1...3).contains(start[6]), start[7] == 0 else {
      throw QCodecError(.invalidNumpy, "format version \(start[6]).\(start[7]) is unknown", offset: 6)
    }
    let offset = start[6] == 1 ? 10 : 12
    guard start.count >= offset else { throw cut() }
    let fields = ByteFields(bytes: Array(start[..<offset]))
    let length = start[6] == 1 ? Int(fields.read(8, as: UInt16.self)) : Int(fields.read(8, as: UInt32.self))
    guard length <= NumpyFile.maximumHeader else {
      throw QCodecError(.invalidNumpy, "a header of \(length) bytes, \(NumpyFile.maximumHeader) at most", offset: 8)
    }
    guard length <= start.count - offset else { throw cut() }
    return offset..<offset + length
  }

  private static let dtypes: [String: DType] = [
    "f2": .f16, "f4": .f32, "f8": .f64, "i1": .i8, "i2": .i16, "i4": .i32, "i8": .i64, "u1": .u8, "u2": .u16,
    "u4": .u32, "u8": .u64, "b1": .bool, "c8": .c64, "c16": .c128,
  ]

  private static func dtype(_ descr: String, at offset: UInt64) throws(QCodecError) -> DType {
    func refuse(_ message: String) -> QCodecError {
      QCodecError(.invalidNumpy, "the dtype '\(descr)' \(message)", offset: offset)
    }
    switch descr.dropFirst().first {
    case "O": throw refuse("is one of Python objects, which are pickles and never loaded")
    case "U", "S", "a": throw refuse("is text")
    case "V": throw refuse("has lost its meaning (bfloat16 saved by NumPy?); save it as float32 or as safetensors")
    case "M", "m": throw refuse("is a time")
    default: break
    }
    guard let dtype = dtypes[String(descr.dropFirst())] else { throw refuse("is not supported") }
    switch descr.first {
    case "<": return dtype
    case "|" where dtype.bitWidth == 8: return dtype
    case ">": throw refuse("is big-endian; save a.astype(a.dtype.newbyteorder('<'))")
    default: throw refuse("states no byte order")
    }
  }
}
