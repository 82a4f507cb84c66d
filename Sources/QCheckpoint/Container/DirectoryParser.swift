import QCodec

/// Reads and checks a directory: every count against the bytes that are there before anything is allocated.
struct DirectoryParser {
  private let fields: ByteFields
  /// Where the directory stands in the file, for the places of errors.
  private let base: UInt64
  private let sections: Directory.Sections
  private var tables: TableSection
  private var schemes: [StoredScheme] = []
  private var schemeNumbers: [Int32] = []
  private var numbers: [SchemeKey: Int32] = [:]
  /// The two schemes met last: neighbours mostly have the same, and of pairs every other.
  private var recent: [(key: SchemeKey, number: Int32)] = []
  private var nextName: UInt64 = 0
  private var nextDim: UInt64 = 0

  /// Reads the directory whose checksum was right; `chunksEnd` is where the metadata begin.
  static func parse(
    _ bytes: [UInt8], at base: UInt64, tensorCount: UInt64, chunksEnd: UInt64
  ) throws(QCodecError) -> Directory {
    var parser = try DirectoryParser(bytes, at: base, tensorCount: tensorCount)
    try parser.checkTensors()
    try parser.tables.finish()
    try parser.checkChunks()
    let directory = Directory(
      fields: parser.fields, sections: parser.sections, schemes: parser.schemes,
      schemeNumbers: parser.schemeNumbers, pairs: try parser.pairs())
    try parser.checkNames()
    try ChunkTableCheck(
      directory: directory, recordsBase: base + UInt64(Format.directoryHeaderSize),
      base: base + UInt64(parser.sections.chunksStart), end: chunksEnd
    ).run()
    try parser.checkPairs(directory)
    return directory
  }

  private init(_ bytes: [UInt8], at base: UInt64, tensorCount: UInt64) throws(QCodecError) {
    guard bytes.count >= Format.directoryHeaderSize else {
      throw QCodecError(.invalidDirectory, "a directory of \(bytes.count) bytes", offset: base)
    }
    fields = ByteFields(bytes: bytes)
    self.base = base
    guard fields.read(0, as: UInt64.self) == tensorCount else {
      throw QCodecError(.invalidDirectory, "directory and trailer disagree on the number of tensors", offset: base)
    }
    for offset in stride(from: 48, to: 64, by: 8) where fields.read(offset, as: UInt64.self) != 0 {
      throw QCodecError(.reservedBits, "a reserved field of the directory is not zero", offset: base + UInt64(offset))
    }
    // Each section is checked against what the ones before leave, by subtraction.
    var rest = UInt64(bytes.count - Format.directoryHeaderSize)
    var starts: [Int] = []
    var counts: [Int] = []
    let sizes = [Format.tensorRecordSize, 8, Format.chunkRecordSize, Format.pairRecordSize, 1, 1]
    for (section, header) in [0, 16, 8, 40, 24, 32].enumerated() {
      let count: UInt64 = fields.read(header)
      let size = UInt64(sizes[section])
      guard count <= rest / size else {
        throw QCodecError(
          .invalidDirectory, "the directory is too short for what it counts", offset: base + UInt64(header))
      }
      starts.append(bytes.count - Int(rest))
      counts.append(Int(count))
      rest -= count * size
    }
    guard rest == 0 else {
      throw QCodecError(.invalidDirectory, "\(rest) bytes of the directory belong to nothing", offset: base)
    }
    sections = Directory.Sections(
      tensors: counts[0], dims: counts[1], chunks: counts[2], pairs: counts[3], dimsStart: starts[1],
      chunksStart: starts[2], pairsStart: starts[3], tablesStart: starts[4], namesStart: starts[5])
    tables = TableSection(fields: fields, range: starts[4]..<starts[5], base: base)
  }

  // MARK: Tensors

  private mutating func checkTensors() throws(QCodecError) {
    schemeNumbers.reserveCapacity(sections.tensors)
    for index in 0..<sections.tensors {
      let at = Format.directoryHeaderSize + index * Format.tensorRecordSize
      do throws(QCodecError) {
        try check(TensorFields(fields: fields, at: at))
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
    let (offset, length) = (fields.read(at, as: UInt64.self), UInt64(fields.read(at + 8, as: UInt32.self)))
    let available = UInt64(fields.bytes.count - sections.namesStart)
    if copy.tensor == nil, 1...UInt64(Format.maximumNameLength) ~= length, offset <= available,
      length <= available - offset
    {
      let start = sections.namesStart + Int(offset)
      copy.tensor = String(decoding: fields.bytes[start..<start + Int(length)], as: UTF8.self)
    }
    return copy
  }

  private mutating func check(_ tensor: TensorFields) throws(QCodecError) {
    let at = tensor.at
    guard let dtype = tensor.dtype else {
      throw QCodecError(.invalidDirectory, "unknown dtype \(fields.bytes[at + 12])", offset: base + UInt64(at + 12))
    }
    guard tensor.role != nil else {
      throw QCodecError(.invalidDirectory, "unknown role \(fields.bytes[at + 13])", offset: base + UInt64(at + 13))
    }
    guard tensor.reason != nil else {
      throw QCodecError(.invalidDirectory, "unknown reason \(fields.bytes[at + 52])", offset: base + UInt64(at + 52))
    }
    let elements = try checkPlaces(tensor, dtype: dtype)
    guard fields.read(at + 54, as: UInt16.self) == 0 else {
      throw QCodecError(.reservedBits, "a reserved field of a tensor is not zero", offset: base + UInt64(at + 54))
    }
    let number = try schemeNumber(of: tensor)
    schemeNumbers.append(number)
    let scheme = number < 0 ? nil : schemes[Int(number)]
    try checkReference(tensor, isUpdate: scheme?.isUpdate == true)
    if let scheme {
      try checkErrors(tensor, elements: elements, scheme: scheme)
    } else {
      for offset in stride(from: at + 64, to: at + 136, by: 8) where fields.read(offset, as: UInt64.self) != 0 {
        throw QCodecError(.invalidScheme, "a lossless tensor has no errors", offset: base + UInt64(offset))
      }
    }
  }

  /// The number of a tensor's scheme among all; -1 for a lossless one.
  private mutating func schemeNumber(of tensor: TensorFields) throws(QCodecError) -> Int32 {
    let stored = SchemeFields(tensor: tensor, base: base)
    switch tensor.encoding {
    case 0:
      try stored.checkLossless()
      return -1
    case 1: break
    default: throw stored.unknownEncoding
    }
    let key = tensor.schemeKey
    let number: Int32
    if let known = recent.first(where: { $0.key == key })?.number {
      number = known
    } else if let known = numbers[key] {
      number = known
      recent = [(key, number)] + recent.prefix(1)
    } else {
      number = Int32(schemes.count)
      schemes.append(StoredScheme(try stored.read(tables: &tables)))
      numbers[key] = number
      recent = [(key, number)] + recent.prefix(1)
    }
    try stored.check(isUpdate: schemes[Int(number)].isUpdate)
    return number
  }

  /// References belong to the update domain; what they lead to is checked when all tensors are known.
  private func checkReference(_ tensor: TensorFields, isUpdate: Bool) throws(QCodecError) {
    let reference: UInt64 = fields.read(tensor.at + 56)
    guard isUpdate == (reference != Format.noReference), !isUpdate || reference < UInt64(sections.tensors) else {
      throw QCodecError(
        .invalidReference, isUpdate ? "a reference to tensor \(reference)" : "a reference outside the update domain",
        offset: base + UInt64(tensor.at + 56))
    }
  }

  /// Checks name, dims and chunks; returns the number of elements.
  private mutating func checkPlaces(_ tensor: TensorFields, dtype: DType) throws(QCodecError) -> UInt64 {
    let (at, nameLength, dimCount, dims) = (tensor.at, UInt64(tensor.nameLength), tensor.dimCount, tensor.dimsIndex)
    guard (1...UInt64(Format.maximumNameLength)).contains(nameLength) else {
      throw QCodecError(.invalidName, "a name of \(nameLength) bytes", offset: base + UInt64(at + 8))
    }
    let available = UInt64(fields.bytes.count - sections.namesStart)
    guard tensor.nameOffset == nextName, nameLength <= available - nextName else {
      throw QCodecError(.invalidDirectory, "names are not end to end", offset: base + UInt64(at))
    }
    nextName += nameLength
    guard dimCount <= Format.maximumDims else {
      throw QCodecError(.invalidShape, "\(dimCount) dims, 32 at most", offset: base + UInt64(at + 15))
    }
    guard dims == nextDim, UInt64(dimCount) <= UInt64(sections.dims) - nextDim else {
      throw QCodecError(.invalidDirectory, "dims are not end to end", offset: base + UInt64(at + 16))
    }
    nextDim += UInt64(dimCount)
    let (first, count, chunks) = (tensor.firstChunk, tensor.chunkCount, UInt64(sections.chunks))
    guard first <= chunks, count <= chunks - first else {
      throw QCodecError(.invalidChunkTable, "chunks beyond the chunk table", offset: base + UInt64(at + 24))
    }
    let elements = try elementCount(Int(dims)..<Int(dims) + Int(dimCount))
    let bytes = try dtype.byteCount(elements: elements)
    guard bytes < Format.maximumFile else {
      throw QCodecError(.limitExceeded, "\(bytes) bytes of a tensor, fewer than 2^63 at most")
    }
    return elements
  }

  private func elementCount(_ dims: Range<Int>) throws(QCodecError) -> UInt64 {
    if let count = sections.elementCount(fields, dims) { return count }
    // The error shows the shape.
    return try TensorLayout.elementCount(of: dims.map { fields.read(sections.dimsStart + $0 * 8) })
  }

  private func checkErrors(_ tensor: TensorFields, elements: UInt64, scheme: StoredScheme) throws(QCodecError) {
    let at = tensor.at
    for offset in stride(from: at + 72, to: at + 104, by: 8) {
      let value = fields.double(offset)
      guard value >= 0, value.isFinite else {
        throw QCodecError(.invalidDirectory, "a recorded error of \(value)", offset: base + UInt64(offset))
      }
    }
    for offset in [at + 104, at + 112] where fields.read(offset, as: UInt64.self) > elements {
      throw QCodecError(
        .invalidDirectory, "\(fields.read(offset, as: UInt64.self)) of \(elements) elements",
        offset: base + UInt64(offset))
    }
    // Only imports come without a guarantee; a relative one is of the log map and the update domain.
    let guarantee = fields.double(at + 120)
    guard scheme.scheme.rounding == .unknown ? guarantee.isNaN : guarantee >= 0 && guarantee.isFinite else {
      throw QCodecError(.invalidDirectory, "a guarantee of \(guarantee)", offset: base + UInt64(at + 120))
    }
    let relative = tensor.guaranteedRelative
    guard scheme.hasRelativeBound ? relative >= 0 && relative.isFinite : relative.isNaN else {
      throw QCodecError(.invalidDirectory, "a relative guarantee of \(relative)", offset: base + UInt64(at + 128))
    }
  }

  // MARK: Chunks and names

  private func checkChunks() throws(QCodecError) {
    for index in 0..<sections.chunks {
      let at = sections.chunksStart + index * Format.chunkRecordSize
      guard Compression(rawValue: fields.bytes[at + 24]) != nil else {
        throw QCodecError(.invalidChunkTable, "unknown compression of a chunk", offset: base + UInt64(at + 24))
      }
      guard ChunkKind(rawValue: fields.bytes[at + 25]) != nil else {
        throw QCodecError(.invalidChunkTable, "unknown kind of a chunk", offset: base + UInt64(at + 25))
      }
      guard fields.read(at + 26, as: UInt16.self) == 0 else {
        throw QCodecError(.reservedBits, "a reserved field of a chunk is not zero", offset: base + UInt64(at + 26))
      }
    }
  }

  private func pairs() throws(QCodecError) -> [PairRecord] {
    var result: [PairRecord] = []
    for index in 0..<sections.pairs {
      let at = sections.pairsStart + index * Format.pairRecordSize
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
        directory.shape(first) == directory.shape(second)
      else {
        throw QCodecError(
          .invalidReference, "a pair of tensors \(first) and \(second)",
          offset: base + UInt64(sections.pairsStart + index * Format.pairRecordSize))
      }
      let elements = directory.elementCount(first)
      guard pair.error.zeroedSecondMoments <= elements, pair.error.signChanges <= elements else {
        throw QCodecError(
          .invalidDirectory, "a pair of \(elements) elements with more zeros or signs than that",
          offset: base + UInt64(sections.pairsStart + index * Format.pairRecordSize))
      }
      next = first + 1
    }
  }

  /// Names are UTF-8, and ascend by their bytes.
  private func checkNames() throws(QCodecError) {
    var start = sections.namesStart
    var before = start..<start
    for index in 0..<sections.tensors {
      let at = Format.directoryHeaderSize + index * Format.tensorRecordSize
      let own = start..<start + Int(fields.read(at + 8, as: UInt32.self))
      start = own.upperBound
      defer { before = own }
      let found: (isValid: Bool, place: Int) = unsafe fields.bytes.withUnsafeBytes { bytes in
        let name = unsafe UnsafeRawBufferPointer(rebasing: bytes[own])
        let last = unsafe UnsafeRawBufferPointer(rebasing: bytes[before])
        return unsafe (isUTF8(name), order(last, name))
      }
      if found.isValid, found.place < 0 { continue }
      let offset = base + UInt64(own.lowerBound)
      guard found.isValid else { throw QCodecError(.invalidName, "a name is not valid UTF-8", offset: offset) }
      let text = String(decoding: fields.bytes[own], as: UTF8.self)
      if found.place == 0 { throw QCodecError(.duplicateName, "two tensors of one name", offset: offset, tensor: text) }
      throw QCodecError(.invalidDirectory, "tensors are not sorted by name", offset: offset, tensor: text)
    }
  }
}

/// Whether bytes are UTF-8; names are mostly ASCII, of which eight bytes are looked at together.
private func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
  var (place, high) = (0, UInt64(0))
  while place + 8 <= bytes.count {
    high |= unsafe bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
    place += 8
  }
  while place < bytes.count {
    high |= unsafe UInt64(bytes[place])
    place += 1
  }
  if high & 0x8080_8080_8080_8080 == 0 { return true }
  return unsafe String(validating: bytes, as: UTF8.self) != nil
}
