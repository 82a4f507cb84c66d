import QCodec

/// Reads and checks a directory: every count against the bytes that are there before anything is allocated.
///
/// Each section is gone through once, in the order of the specification's checks, without an allocation for a tensor.
struct DirectoryParser {
  private let fields: ByteFields
  private let sections: DirectorySections
  /// Where the directory stands in the file, for the places of errors.
  private let base: UInt64
  /// Whether chunks may be those of a base.
  private let hasBase: Bool
  private var schemes: SchemeList
  private var schemeNumbers: [UInt32] = []
  /// Whether any tensor refers to another or has chunks that alternate.
  private var hasPairs = false
  private var nextName: UInt64 = 0
  private var nextDim: UInt64 = 0

  /// Reads the directory whose checksum was right; `chunksEnd` is where the metadata begin, `features` are those
  /// of the header.
  static func parse(
    _ bytes: [UInt8], at base: UInt64, tensorCount: UInt64, chunksEnd: UInt64, features: RequiredFeatures
  ) throws(QCodecError) -> Directory {
    var parser = try DirectoryParser(bytes, at: base, tensorCount: tensorCount, features: features)
    try parser.checkTensors()
    try parser.schemes.finish()
    try parser.checkChunks()
    let directory = Directory(
      fields: parser.fields, sections: parser.sections, schemes: parser.schemes.all,
      schemeNumbers: parser.schemeNumbers, pairs: try parser.pairs())
    try parser.checkNames()
    try ChunkTableCheck(
      directory: directory, recordsBase: base + UInt64(Format.directoryHeaderSize),
      base: base + UInt64(parser.sections.chunksStart), end: chunksEnd, hasPairs: parser.hasPairs
    ).run()
    try parser.checkPairs(directory)
    return directory
  }

  private init(
    _ bytes: [UInt8], at base: UInt64, tensorCount: UInt64, features: RequiredFeatures
  ) throws(QCodecError) {
    fields = ByteFields(bytes: bytes)
    self.base = base
    hasBase = features.contains(.baseFile)
    sections = try DirectorySections(fields, at: base, tensorCount: tensorCount)
    schemes = SchemeList(
      fields: fields, tables: sections.tablesStart..<sections.namesStart, base: base,
      allowsEscapes: features.contains(.escapes))
    schemeNumbers.reserveCapacity(sections.tensors)
  }

  // MARK: Tensors

  private mutating func checkTensors() throws(QCodecError) {
    for index in 0..<sections.tensors {
      let at = sections.tensorStart(index)
      do throws(QCodecError) {
        try check(StoredTensor(fields, at: at), at: at)
      } catch {
        throw located(error, record: at)
      }
    }
    guard nextName == UInt64(fields.bytes.count - sections.namesStart), nextDim == UInt64(sections.dims) else {
      throw QCodecError(.invalidDirectory, "names or dims belong to no tensor", offset: base)
    }
  }

  /// Adds to an error within a record its place and the tensor's name, where that can be read.
  private func located(_ error: QCodecError, record at: Int) -> QCodecError {
    var copy = error
    if copy.offset == nil { copy.offset = base + UInt64(at) }
    let stored = StoredTensor(fields, at: at)
    let available = UInt64(fields.bytes.count - sections.namesStart)
    if copy.tensor == nil, 1...Format.maximumNameLength ~= stored.nameLength, stored.nameOffset <= available,
      UInt64(stored.nameLength) <= available - stored.nameOffset
    {
      let start = sections.namesStart + Int(stored.nameOffset)
      copy.tensor = String(decoding: fields.bytes[start..<start + stored.nameLength], as: UTF8.self)
    }
    return copy
  }

  private func refuse(_ code: QCodecError.Code, _ message: String, _ offset: Int) -> QCodecError {
    QCodecError(code, message, offset: base + UInt64(offset))
  }

  @inline(__always)
  private mutating func check(_ stored: StoredTensor, at: Int) throws(QCodecError) {
    guard let dtype = DType(rawValue: stored.dtypeCode) else {
      throw refuse(.invalidDirectory, "unknown dtype \(stored.dtypeCode)", at + 12)
    }
    guard Role(rawValue: stored.roleCode) != nil else {
      throw refuse(.invalidDirectory, "unknown role \(stored.roleCode)", at + 13)
    }
    guard let reason = FallbackReason(rawValue: stored.reasonCode) else {
      throw refuse(.invalidDirectory, "unknown reason \(stored.reasonCode)", at + 52)
    }
    try checkPlaces(stored, at: at)
    let elements = try checkShape(stored, dtype: dtype)
    guard stored.reserved == 0 else {
      throw refuse(.reservedBits, "a reserved field of a tensor is not zero", at + 54)
    }
    let number = try schemes.number(of: stored, at: at, dtype: dtype, reason: reason)
    schemeNumbers.append(number)
    hasPairs = hasPairs || stored.stride != 1 || stored.referenceCode != Format.noReference
    guard number != Directory.lossless else {
      try checkReference(stored, at: at, isUpdate: false)
      if let field = stored.firstError {
        throw refuse(.invalidScheme, "a lossless tensor has no errors", at + field)
      }
      return
    }
    let scheme = schemes.all[Int(number)]
    try checkReference(stored, at: at, isUpdate: scheme.isUpdate)
    try checkErrors(stored, at: at, elements: elements, scheme: scheme)
  }

  @inline(__always)
  private mutating func checkPlaces(_ stored: StoredTensor, at: Int) throws(QCodecError) {
    let length = UInt64(stored.nameLength)
    guard 1...UInt64(Format.maximumNameLength) ~= length else {
      throw refuse(.invalidName, "a name of \(length) bytes", at + 8)
    }
    let available = UInt64(fields.bytes.count - sections.namesStart)
    guard stored.nameOffset == nextName, length <= available - nextName else {
      throw refuse(.invalidDirectory, "names are not end to end", at)
    }
    nextName += length
    guard stored.dimCount <= Format.maximumDims else {
      throw refuse(.invalidShape, "\(stored.dimCount) dims, 32 at most", at + 15)
    }
    let dimCount = UInt64(stored.dimCount)
    guard stored.dimsIndex == nextDim, dimCount <= UInt64(sections.dims) - nextDim else {
      throw refuse(.invalidDirectory, "dims are not end to end", at + 16)
    }
    nextDim += dimCount
    let chunks = UInt64(sections.chunks)
    guard stored.firstChunk <= chunks, stored.chunkCount <= chunks - stored.firstChunk else {
      throw refuse(.invalidChunkTable, "chunks beyond the chunk table", at + 24)
    }
  }

  /// The elements of a tensor, which were checked with its bytes.
  @inline(__always)
  private func checkShape(_ stored: StoredTensor, dtype: DType) throws(QCodecError) -> UInt64 {
    guard let elements = sections.elementCount(fields, stored) else {
      let start = sections.dimsStart + Int(stored.dimsIndex) * 8
      // Throws, and shows the shape.
      return try TensorLayout.elementCount(of: (0..<stored.dimCount).map { fields.read(start + $0 * 8) })
    }
    let bytes = try dtype.byteCount(elements: elements)
    guard bytes < Format.maximumFile else {
      throw QCodecError(.limitExceeded, "\(bytes) bytes of a tensor, fewer than 2^63 at most")
    }
    return elements
  }

  /// References belong to the update domain; what they lead to is checked when all tensors are known.
  @inline(__always)
  private func checkReference(_ stored: StoredTensor, at: Int, isUpdate: Bool) throws(QCodecError) {
    let reference = stored.referenceCode
    guard isUpdate == (reference != Format.noReference), !isUpdate || reference < UInt64(sections.tensors) else {
      throw refuse(
        .invalidReference, isUpdate ? "a reference to tensor \(reference)" : "a reference outside the update domain",
        at + 56)
    }
  }

  @inline(__always)
  private func checkErrors(
    _ stored: StoredTensor, at: Int, elements: UInt64, scheme: StoredScheme
  ) throws(QCodecError) {
    // Four errors, then two counts.
    for word in 9..<13 {
      let value = stored.double(word)
      guard value >= 0, value.isFinite else {
        throw refuse(.invalidDirectory, "a recorded error of \(value)", at + word * 8)
      }
    }
    for word in 13..<15 where stored.words[word] > elements {
      throw refuse(.invalidDirectory, "\(stored.words[word]) of \(elements) elements", at + word * 8)
    }
    // Only imports come without a guarantee; a relative one is of the log map and the update domain.
    let guarantee = stored.double(15)
    guard scheme.scheme.rounding == .unknown ? guarantee.isNaN : guarantee >= 0 && guarantee.isFinite else {
      throw refuse(.invalidDirectory, "a guarantee of \(guarantee)", at + 120)
    }
    let relative = stored.guaranteedRelative
    guard scheme.hasRelativeBound ? relative >= 0 && relative.isFinite : relative.isNaN else {
      throw refuse(.invalidDirectory, "a relative guarantee of \(relative)", at + 128)
    }
  }

  // MARK: Chunks

  /// Checks what a chunk's record may hold, whatever its tensor.
  private func checkChunks() throws(QCodecError) {
    for index in 0..<sections.chunks {
      let at = sections.chunkStart(index)
      let stored = StoredChunk(fields, at: at)
      guard let coding = ChunkCoding(code: stored.compressionCode) else {
        throw refuse(.invalidChunkTable, "unknown compression of a chunk", at + 24)
      }
      guard hasBase || coding.relation == .own else {
        throw refuse(.invalidChunkTable, "a chunk of a base in a file that has none", at + 24)
      }
      guard ChunkKind(rawValue: stored.kindCode) != nil else {
        throw refuse(.invalidChunkTable, "unknown kind of a chunk", at + 25)
      }
      guard stored.reserved == 0 else {
        throw refuse(.reservedBits, "a reserved field of a chunk is not zero", at + 26)
      }
    }
  }

  // MARK: Names

  /// Names are UTF-8 and ascend by their bytes.
  private func checkNames() throws(QCodecError) {
    var before = sections.namesStart..<sections.namesStart
    for index in 0..<sections.tensors {
      let length = StoredTensor(fields, at: sections.tensorStart(index)).nameLength
      let own = before.upperBound..<before.upperBound + length
      let isText = unsafe fields.withBytes(own) { unsafe isUTF8($0) }
      guard isText else { throw refuse(.invalidName, "a name is not valid UTF-8", own.lowerBound) }
      let order = unsafe fields.withBytes(before) { last in
        unsafe fields.withBytes(own) { unsafe byteOrder(last, $0) }
      }
      // The first stands after the empty name.
      guard order < 0 else { throw unsorted(own, isSame: order == 0) }
      before = own
    }
  }

  private func unsorted(_ name: Range<Int>, isSame: Bool) -> QCodecError {
    let text = String(decoding: fields.bytes[name], as: UTF8.self)
    let offset = base + UInt64(name.lowerBound)
    return isSame
      ? QCodecError(.duplicateName, "two tensors of one name", offset: offset, tensor: text)
      : QCodecError(.invalidDirectory, "tensors are not sorted by name", offset: offset, tensor: text)
  }

  // MARK: Pairs

  private func pairs() throws(QCodecError) -> [PairRecord] {
    var result: [PairRecord] = []
    result.reserveCapacity(sections.pairs)
    for index in 0..<sections.pairs {
      let at = sections.pairStart(index)
      result.append(try PairRecord(fields, at: at, place: base + UInt64(at)))
    }
    return result
  }

  /// Pairs stand in the order of their first moments, of which each has one.
  private func checkPairs(_ directory: Directory) throws(QCodecError) {
    var next = 0
    for (index, pair) in directory.pairs.enumerated() {
      let (first, second) = (Int(pair.first), Int(pair.second))
      guard first >= next, first < sections.tensors, second < sections.tensors, first != second,
        directory.haveSameShape(first, second)
      else {
        throw refuse(.invalidReference, "a pair of tensors \(first) and \(second)", sections.pairStart(index))
      }
      let elements = directory.elementCount(first)
      guard pair.error.zeroedSecondMoments <= elements, pair.error.signChanges <= elements else {
        throw refuse(
          .invalidDirectory, "a pair of \(elements) elements with more zeros or signs than that",
          sections.pairStart(index))
      }
      next = first + 1
    }
  }
}

/// Whether bytes are UTF-8. Nearly all names are ASCII, of which eight bytes are looked at together.
private func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
  var (offset, all) = (0, UInt64(0))
  while offset <= bytes.count - 8 {
    all |= unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    offset += 8
  }
  while offset < bytes.count {
    all |= unsafe UInt64(bytes[offset])
    offset += 1
  }
  if all & 0x8080_8080_8080_8080 == 0 { return true }
  return unsafe (try? UTF8Span(validating: Span(_unsafeElements: bytes.bindMemory(to: UInt8.self)))) != nil
}
