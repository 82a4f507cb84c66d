import QCodec

/// Reads preambles and frames of a file at places that nothing vouches for.
struct SalvageCursor {
  private static let windowSize = 1 << 20

  let source: any TensorSource
  /// The part of the file that was read last.
  private var window: [UInt8] = []
  private var windowStart: UInt64 = 0

  /// Bytes that may yet be hashed as preambles or looked over a second time; files of writers need a fraction.
  private var patience: UInt64

  init(_ source: any TensorSource) {
    self.source = source
    patience = source.byteCount.multipliedReportingOverflow(by: 8).partialValue
  }

  /// Whether that many bytes more may be looked over again: a hostile file must not make the work quadratic.
  mutating func mayRepeat(_ count: UInt64) -> Bool {
    guard count <= patience else { return false }
    patience -= count
    return true
  }

  /// Bytes of a range, or nil where the file ends before or the system cannot read.
  mutating func bytes(at offset: UInt64, count: Int) -> ArraySlice<UInt8>? {
    guard offset <= source.byteCount, UInt64(count) <= source.byteCount - offset else { return nil }
    if offset < windowStart || offset + UInt64(count) > windowStart + UInt64(window.count) {
      let size = Int(min(source.byteCount - offset, UInt64(max(count, Self.windowSize))))
      // What cannot be read cannot be salvaged; beyond what is asked for it does no harm.
      guard let read = (try? source.bytes(at: offset, count: size)) ?? (try? source.bytes(at: offset, count: count))
      else { return nil }
      (window, windowStart) = (read, offset)
    }
    let start = Int(offset - windowStart)
    return window[start..<start + count]
  }

  /// The preamble at an offset and its length, or nil where there is none.
  mutating func preamble(at offset: UInt64) -> (preamble: Preamble, byteCount: Int)? {
    guard let head = bytes(at: offset, count: Preamble.fixedSize),
      // Cheap enough to be asked at every eighth byte of a file.
      let dtype = DType(rawValue: head[head.startIndex + 6]), head[head.startIndex + 7] <= Format.maximumDims
    else { return nil }
    let fields = ByteFields(bytes: Array(head))
    let (nameLength, dims) = (Int(fields.read(4, as: UInt16.self)) + 1, Int(fields.bytes[7]))
    var codes: SchemeCodes?
    if fields.read(8, as: UInt64.self) != 0 {
      // The header that tells of escapes may be what is damaged.
      guard let read = try? SchemeCodes(fields, at: 8, place: offset, allowsEscapes: true) else { return nil }
      codes = read
    }
    let entries = codes?.map == .custom ? 1 << (codes?.bits ?? 0) : 0
    let references = codes?.domain == .update ? 8 : 0
    let size = Preamble.fixedSize + dims * 8 + references + entries * 4 + nameLength
    guard mayRepeat(UInt64(size)), let all = bytes(at: offset, count: size) else { return nil }
    let body = ByteFields(bytes: Array(all))
    guard body.read(0) == UInt32(truncatingIfNeeded: xxh3(Array(body.bytes[4...]))) else { return nil }
    guard let preamble = Self.preamble(body, dtype: dtype, dims: dims, codes: codes, entries: entries) else {
      return nil
    }
    return (preamble, size)
  }

  private static func preamble(
    _ body: ByteFields, dtype: DType, dims: Int, codes: SchemeCodes?, entries: Int
  ) -> Preamble? {
    let isUpdate = codes?.domain == .update
    let dimsEnd = Preamble.fixedSize + dims * 8
    let tableStart = dimsEnd + (isUpdate ? 8 : 0)
    let name = Array(body.bytes[(tableStart + entries * 4)...])
    guard String(validating: name, as: UTF8.self) != nil else { return nil }
    let shape = (0..<dims).map { body.read(Preamble.fixedSize + $0 * 8, as: UInt64.self) }
    guard let codes else { return Preamble(name: name, dtype: dtype, shape: shape, scheme: nil) }
    var table: MapTable?
    if entries > 0 {
      let values = (0..<entries).map { Float(bitPattern: body.read(tableStart + $0 * 4, as: UInt32.self)) }
      // Of an import only unknown rounding tells; a table of its own that obeys the rules decodes the same as one.
      table = try? MapTable(
        custom: values, signed: codes.signed, isImport: codes.rounding == .unknown, scaleRule: codes.scaleRule)
      guard table != nil else { return nil }
    }
    let reference = isUpdate ? UInt32(exactly: body.read(dimsEnd, as: UInt64.self)) : nil
    guard !isUpdate || reference != nil else { return nil }
    return Preamble(
      name: name, dtype: dtype, shape: shape, scheme: codes.scheme(seed: 0, table: table), reference: reference)
  }

  /// The frame that ends where stored bytes begin, or nil.
  mutating func frame(before offset: UInt64) -> ChunkFrame? {
    guard offset >= UInt64(ChunkFrame.size),
      let head = bytes(at: offset - UInt64(ChunkFrame.size), count: ChunkFrame.size)
    else { return nil }
    return ChunkFrame(ByteFields(bytes: Array(head)), at: 0)
  }
}
