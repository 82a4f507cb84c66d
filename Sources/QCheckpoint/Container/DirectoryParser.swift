import QCodec

/// Reads and checks a directory: every count against the bytes that are there before anything is allocated.
struct DirectoryParser {
  private let fields: ByteFields
  /// Where the directory stands in the file, for the places of errors.
  private let base: UInt64
  private let tensorCount: Int
  private let chunkCount: Int
  private let dimCount: Int
  private let pairCount: Int
  private let dimsStart: Int
  private let chunksStart: Int
  private let pairsStart: Int
  private let tablesStart: Int
  private let namesStart: Int
  private var tables: TableSection
  private var dims: [UInt64] = []
  private var nextName: UInt64 = 0
  private var nextDim: UInt64 = 0

  /// Reads the directory whose checksum was right; `chunksEnd` is where the metadata begin.
  static func parse(
    _ bytes: [UInt8], at base: UInt64, tensorCount: UInt64, chunksEnd: UInt64
  ) throws(QCodecError) -> Directory {
    var parser = try DirectoryParser(bytes, at: base, tensorCount: tensorCount)
    let records = try parser.records()
    try parser.tables.finish()
    let directory = Directory(
      records: records, dims: parser.dims, chunks: try parser.chunks(), pairs: try parser.pairs(),
      names: Array(bytes[parser.namesStart...]))
    try parser.checkNames(directory)
    try ChunkTableCheck(
      directory: directory, recordsBase: base + UInt64(Format.directoryHeaderSize),
      base: base + UInt64(parser.chunksStart), end: chunksEnd
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
    (self.tensorCount, dimCount, chunkCount, pairCount) = (counts[0], counts[1], counts[2], counts[3])
    (dimsStart, chunksStart, pairsStart) = (starts[1], starts[2], starts[3])
    (tablesStart, namesStart) = (starts[4], starts[5])
    tables = TableSection(fields: fields, range: tablesStart..<namesStart, base: base)
    dims.reserveCapacity(dimCount)
    for index in 0..<dimCount { dims.append(fields.read(dimsStart + index * 8)) }
  }

  // MARK: Tensors

  private mutating func records() throws(QCodecError) -> [TensorRecord] {
    var result: [TensorRecord] = []
    result.reserveCapacity(tensorCount)
    for index in 0..<tensorCount {
      let at = Format.directoryHeaderSize + index * Format.tensorRecordSize
      do throws(QCodecError) {
        result.append(try record(at: at))
      } catch {
        throw located(error, record: at)
      }
    }
    guard nextName == UInt64(fields.bytes.count - namesStart), nextDim == UInt64(dimCount) else {
      throw QCodecError(.invalidDirectory, "names or dims belong to no tensor", offset: base)
    }
    return result
  }

  /// Adds to an error within a record its place and the tensor's name, where that can be read.
  private func located(_ error: QCodecError, record at: Int) -> QCodecError {
    var copy = error
    if copy.offset == nil { copy.offset = base + UInt64(at) }
    let (offset, length) = (fields.read(at, as: UInt64.self), UInt64(fields.read(at + 8, as: UInt32.self)))
    let available = UInt64(fields.bytes.count - namesStart)
    if copy.tensor == nil, 1...UInt64(Format.maximumNameLength) ~= length, offset <= available,
      length <= available - offset
    {
      let start = namesStart + Int(offset)
      copy.tensor = String(decoding: fields.bytes[start..<start + Int(length)], as: UTF8.self)
    }
    return copy
  }

  private mutating func record(at: Int) throws(QCodecError) -> TensorRecord {
    let dtypeCode = fields.bytes[at + 12]
    guard let dtype = DType(rawValue: dtypeCode) else {
      throw QCodecError(.invalidDirectory, "unknown dtype \(dtypeCode)", offset: base + UInt64(at + 12))
    }
    guard let role = Role(rawValue: fields.bytes[at + 13]) else {
      throw QCodecError(.invalidDirectory, "unknown role \(fields.bytes[at + 13])", offset: base + UInt64(at + 13))
    }
    guard let reason = FallbackReason(rawValue: fields.bytes[at + 52]) else {
      throw QCodecError(.invalidDirectory, "unknown reason \(fields.bytes[at + 52])", offset: base + UInt64(at + 52))
    }
    var record = TensorRecord(dtype: dtype, role: role)
    record.reason = reason
    try readPlaces(at: at, into: &record)
    try readShape(at: at, into: &record)
    guard fields.read(at + 54, as: UInt16.self) == 0 else {
      throw QCodecError(.reservedBits, "a reserved field of a tensor is not zero", offset: base + UInt64(at + 54))
    }
    record.stride = fields.bytes[at + 53]
    record.scheme = try SchemeFields(fields: fields, at: at, base: base).read(tables: &tables)
    if record.scheme != nil { record.tableOffset = fields.read(at + 48) }
    try readReference(at: at, into: &record)
    try readStatistics(at: at, into: &record)
    return record
  }

  /// References belong to the update domain; what they lead to is checked when all tensors are known.
  private func readReference(at: Int, into record: inout TensorRecord) throws(QCodecError) {
    let reference: UInt64 = fields.read(at + 56)
    let isUpdate = record.scheme?.domain == .update
    guard isUpdate == (reference != Format.noReference), !isUpdate || reference < UInt64(tensorCount) else {
      throw QCodecError(
        .invalidReference, isUpdate ? "a reference to tensor \(reference)" : "a reference outside the update domain",
        offset: base + UInt64(at + 56))
    }
    if isUpdate { record.reference = Int(reference) }
  }

  private mutating func readPlaces(at: Int, into record: inout TensorRecord) throws(QCodecError) {
    record.nameOffset = fields.read(at)
    record.nameLength = fields.read(at + 8)
    guard (1...Format.maximumNameLength).contains(Int(record.nameLength)) else {
      throw QCodecError(.invalidName, "a name of \(record.nameLength) bytes", offset: base + UInt64(at + 8))
    }
    let available = UInt64(fields.bytes.count - namesStart)
    guard record.nameOffset == nextName, UInt64(record.nameLength) <= available - nextName else {
      throw QCodecError(.invalidDirectory, "names are not end to end", offset: base + UInt64(at))
    }
    nextName += UInt64(record.nameLength)
    record.dimCount = fields.bytes[at + 15]
    guard record.dimCount <= Format.maximumDims else {
      throw QCodecError(.invalidShape, "\(record.dimCount) dims, 32 at most", offset: base + UInt64(at + 15))
    }
    record.dimsIndex = fields.read(at + 16)
    guard record.dimsIndex == nextDim, UInt64(record.dimCount) <= UInt64(dimCount) - nextDim else {
      throw QCodecError(.invalidDirectory, "dims are not end to end", offset: base + UInt64(at + 16))
    }
    nextDim += UInt64(record.dimCount)
    record.firstChunk = fields.read(at + 24)
    record.chunkCount = fields.read(at + 32)
    guard record.firstChunk <= UInt64(chunkCount), record.chunkCount <= UInt64(chunkCount) - record.firstChunk else {
      throw QCodecError(.invalidChunkTable, "chunks beyond the chunk table", offset: base + UInt64(at + 24))
    }
  }

  private func readShape(at: Int, into record: inout TensorRecord) throws(QCodecError) {
    let first = Int(record.dimsIndex)
    let shape = Array(dims[first..<first + Int(record.dimCount)])
    record.elementCount = try TensorLayout.elementCount(of: shape)
    record.sourceBytes = try record.dtype.byteCount(elements: record.elementCount)
    guard record.sourceBytes < Format.maximumFile else {
      throw QCodecError(.limitExceeded, "\(record.sourceBytes) bytes of a tensor, fewer than 2^63 at most")
    }
  }

  private func readStatistics(at: Int, into record: inout TensorRecord) throws(QCodecError) {
    record.statistics.maxAbsError = fields.double(at + 72)
    record.statistics.maxScaledError = fields.double(at + 80)
    record.statistics.squaredError = fields.double(at + 88)
    record.statistics.squaredSource = fields.double(at + 96)
    record.statistics.zerosCreated = fields.read(at + 104)
    record.statistics.signChanges = fields.read(at + 112)
    record.statistics.guaranteedMaxAbsError = fields.double(at + 120)
    record.guaranteedRelative = fields.double(at + 128)
    guard record.scheme == nil else { return try checkErrors(record, at: at) }
    for offset in stride(from: at + 64, to: at + 136, by: 8) where fields.read(offset, as: UInt64.self) != 0 {
      throw QCodecError(.invalidScheme, "a lossless tensor has no errors", offset: base + UInt64(offset))
    }
  }

  private func checkErrors(_ record: TensorRecord, at: Int) throws(QCodecError) {
    for offset in stride(from: at + 72, to: at + 104, by: 8) {
      let value = fields.double(offset)
      guard value >= 0, value.isFinite else {
        throw QCodecError(.invalidDirectory, "a recorded error of \(value)", offset: base + UInt64(offset))
      }
    }
    for offset in [at + 104, at + 112] where fields.read(offset, as: UInt64.self) > record.elementCount {
      throw QCodecError(
        .invalidDirectory, "\(fields.read(offset, as: UInt64.self)) of \(record.elementCount) elements",
        offset: base + UInt64(offset))
    }
    // Only imports come without a guarantee; a relative one is of the log map and the update domain.
    let guarantee = record.statistics.guaranteedMaxAbsError
    guard record.scheme?.rounding == .unknown ? guarantee.isNaN : guarantee >= 0 && guarantee.isFinite else {
      throw QCodecError(.invalidDirectory, "a guarantee of \(guarantee)", offset: base + UInt64(at + 120))
    }
    let relative = record.guaranteedRelative
    guard record.scheme?.hasRelativeBound == true ? relative >= 0 && relative.isFinite : relative.isNaN else {
      throw QCodecError(.invalidDirectory, "a relative guarantee of \(relative)", offset: base + UInt64(at + 128))
    }
  }

  // MARK: Chunks and names

  private func chunks() throws(QCodecError) -> [ChunkRecord] {
    var result: [ChunkRecord] = []
    result.reserveCapacity(chunkCount)
    for index in 0..<chunkCount {
      let at = chunksStart + index * Format.chunkRecordSize
      guard let compression = Compression(rawValue: fields.bytes[at + 24]) else {
        throw QCodecError(.invalidChunkTable, "unknown compression of a chunk", offset: base + UInt64(at + 24))
      }
      guard let kind = ChunkKind(rawValue: fields.bytes[at + 25]) else {
        throw QCodecError(.invalidChunkTable, "unknown kind of a chunk", offset: base + UInt64(at + 25))
      }
      guard fields.read(at + 26, as: UInt16.self) == 0 else {
        throw QCodecError(.reservedBits, "a reserved field of a chunk is not zero", offset: base + UInt64(at + 26))
      }
      result.append(
        ChunkRecord(
          offset: fields.read(at), storedLength: fields.read(at + 8), rawLength: fields.read(at + 12),
          hash: fields.read(at + 16), compression: compression, kind: kind, tensor: fields.read(at + 28)))
    }
    return result
  }

  private func pairs() throws(QCodecError) -> [PairRecord] {
    var result: [PairRecord] = []
    for index in 0..<pairCount {
      let at = pairsStart + index * Format.pairRecordSize
      result.append(try PairRecord(fields, at: at, place: base + UInt64(at)))
    }
    return result
  }

  /// Pairs stand in the order of their first moments, of which each has one.
  private func checkPairs(_ directory: Directory) throws(QCodecError) {
    var next = 0
    for (index, pair) in directory.pairs.enumerated() {
      let (first, second) = (Int(pair.first), Int(pair.second))
      guard first >= next, first < tensorCount, second < tensorCount, first != second,
        directory.shape(first) == directory.shape(second)
      else {
        throw QCodecError(
          .invalidReference, "a pair of tensors \(first) and \(second)",
          offset: base + UInt64(pairsStart + index * Format.pairRecordSize))
      }
      let elements = directory.records[first].elementCount
      guard pair.error.zeroedSecondMoments <= elements, pair.error.signChanges <= elements else {
        throw QCodecError(
          .invalidDirectory, "a pair of \(elements) elements with more zeros or signs than that",
          offset: base + UInt64(pairsStart + index * Format.pairRecordSize))
      }
      next = first + 1
    }
  }

  private func checkNames(_ directory: Directory) throws(QCodecError) {
    for index in directory.records.indices {
      let name = directory.name(index)
      let offset = base + UInt64(namesStart) + directory.records[index].nameOffset
      guard String(validating: name, as: UTF8.self) != nil else {
        throw QCodecError(.invalidName, "a name is not valid UTF-8", offset: offset)
      }
      guard index > 0 else { continue }
      let before = directory.name(index - 1)
      if before.lexicographicallyPrecedes(name) { continue }
      let text = String(decoding: name, as: UTF8.self)
      if before.elementsEqual(name) {
        throw QCodecError(.duplicateName, "two tensors of one name", offset: offset, tensor: text)
      }
      throw QCodecError(.invalidDirectory, "tensors are not sorted by name", offset: offset, tensor: text)
    }
  }
}
