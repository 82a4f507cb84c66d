import QCodec

/// A checkpoint opened for reading: the directory in memory, chunks read when they are asked for.
///
/// Opening reads header, trailer and directory and checks all of the directory; nothing that a hostile file says is
/// trusted before it is checked against the bytes that are there. To be shared between threads freely, and with forked
/// processes. A writer that replaces the file takes nothing away: what was opened is read to its end.
/// Memory: the bytes of the directory, and 4 for each tensor.
public final class CheckpointReader: Sendable {
  let source: any TensorSource
  let directory: Directory
  let trailer: Trailer
  let verifiesChecksums: Bool
  let pool: BufferPool
  /// What a checkpoint that refers to this one calls it: the XXH3-128 of the trailer, which sums up all of the file. nil
  /// where a salvage found no trailer.
  public let digest: Hash128?
  /// The digest of the base whose chunks some of this file's are; nil for a file that stands alone.
  public let baseDigest: Hash128?
  /// The base, or why it is not at hand.
  let resolvedBase: ResolvedBase
  /// The format's version as the file states it.
  public let formatVersion: (major: UInt16, minor: UInt16)
  /// The file that is read, where it is one.
  public let file: InputFile?

  /// Opens a checkpoint file.
  ///
  /// A base is opened along with a file that has one, and the base's own, so that it is readable as long as the file is. That
  /// it cannot be opened is an error of those chunks alone that need it (`baseFailure`).
  ///
  /// - Parameters:
  ///   - path: where the file is.
  ///   - verifyChecksums: whether every chunk read is checked against its checksum.
  ///   - bases: checkpoints that may be its base, or one behind that; where none is, the place that the metadata name
  ///     counts.
  ///
  /// Throws `io`, `notACheckpoint` with what the file is instead, and an error with its byte offset for each defect of
  /// header, trailer and directory. As everything that reads, it can be cancelled (`Cancellation`).
  public convenience init(
    path: String, verifyChecksums: Bool = true, bases: [CheckpointReader] = []
  ) throws(QCodecError) {
    try self.init(
      file: InputFile(path: path), folder: splitPath(path).folder, verifyChecksums: verifyChecksums, bases: bases)
  }

  /// Opens a checkpoint in an open file, whose base is looked for from `folder` on (a slash at its end, empty for the
  /// current one), where that is known; throws as `init(path:verifyChecksums:bases:)`.
  public convenience init(
    file: InputFile, folder: String? = nil, verifyChecksums: Bool = true, bases: [CheckpointReader] = []
  ) throws(QCodecError) {
    let source = FileRangeSource(file: file, offset: 0, byteCount: file.byteCount)
    try self.init(
      source: source, file: file, verifyChecksums: verifyChecksums, resolver: BaseResolver(folder: folder, bases: bases)
    )
  }

  /// Opens a checkpoint that anything delivers by range, memory for instance; throws as
  /// `init(path:verifyChecksums:bases:)`.
  public convenience init(
    source: any TensorSource, verifyChecksums: Bool = true, bases: [CheckpointReader] = []
  ) throws(QCodecError) {
    try self.init(
      source: source, file: nil, verifyChecksums: verifyChecksums, resolver: BaseResolver(bases: bases))
  }

  init(
    source: any TensorSource, file: InputFile?, verifyChecksums: Bool, resolver: BaseResolver
  ) throws(QCodecError) {
    self.source = source
    self.file = file
    verifiesChecksums = verifyChecksums
    let pool = resolver.pool ?? BufferPool()
    self.pool = pool
    let length = source.byteCount
    let start = try source.bytes(at: 0, count: Int(min(length, 256)))
    let header = try Header.check(start)
    formatVersion = (header.major, header.minor)
    baseDigest = header.base
    guard length >= UInt64(Format.headerSize + Format.trailerSize) else {
      throw Self.listingSalvage(QCodecError(.truncated, "the file ends before its trailer", offset: length), source)
    }
    let end = try source.bytes(at: length - UInt64(Format.trailerSize), count: Format.trailerSize)
    do throws(QCodecError) {
      trailer = try Trailer(end, headerHash: header.hash, fileLength: length)
    } catch {
      throw error.code == .truncated ? Self.listingSalvage(error, source) : error
    }
    digest = Hash128(of: end)
    // Checksums of the directory are not optional: everything else is found through it.
    let places = trailer
    let bytes = try unsafe [UInt8](count: Int(places.directoryLength)) { target throws(QCodecError) in
      try unsafe source.read(at: places.directoryOffset, into: target)
    }
    guard xxh3(bytes) == places.directoryHash else {
      throw QCodecError(.directoryCorrupt, "the directory's checksum is wrong", offset: places.directoryOffset)
    }
    directory = try withCodecEnvironment { () throws(QCodecError) in
      try DirectoryParser.parse(
        bytes, at: places.directoryOffset, tensorCount: places.tensorCount, chunksEnd: places.metadataOffset,
        features: header.features)
    }
    if let base = header.base {
      resolvedBase = try ResolvedBase(base, by: resolver, pool: pool) { () throws(QCodecError) in
        try Self.metadata(places, of: source)
      }
    } else {
      resolvedBase = ResolvedBase()
    }
  }

  /// The error of a file cut short, with the names of the tensors that stand whole in it.
  private static func listingSalvage(_ error: QCodecError, _ source: any TensorSource) -> QCodecError {
    var result = error
    guard let salvage = try? Salvage(source: source) else { return error }
    let whole = salvage.tensors.filter(\.isWhole)
    let names = whole.prefix(8).map { "'\($0.name)'" }.joined(separator: ", ")
    result.message += whole.count == 1 ? "; 1 tensor in it is whole" : "; \(whole.count) tensors in it are whole"
    if !whole.isEmpty { result.message += ": \(names)" }
    if whole.count > 8 { result.message += ", …" }
    return result
  }

  /// A reader by a directory that a salvage made up: no metadata, nothing between chunks is known.
  convenience init(directory: Directory, source: any TensorSource, file: InputFile?, base: CheckpointReader?) {
    let trailer = Trailer(salvagedFrom: source.byteCount, tensorCount: UInt64(directory.count))
    self.init(
      directory: directory, trailer: trailer, source: source, file: file, digest: nil, baseDigest: base?.digest,
      base: ResolvedBase(base))
  }

  /// A reader of this version by parts that were read before; it checks every checksum.
  init(
    directory: Directory, trailer: Trailer, source: any TensorSource, file: InputFile?, digest: Hash128?,
    baseDigest: Hash128?, base: ResolvedBase
  ) {
    self.source = source
    self.file = file
    self.directory = directory
    self.trailer = trailer
    self.digest = digest
    self.baseDigest = baseDigest
    resolvedBase = base
    pool = BufferPool()
    verifiesChecksums = true
    formatVersion = (Format.major, Format.minor)
  }

  /// The same checkpoint by another base.
  init(_ other: CheckpointReader, base: ResolvedBase) {
    source = other.source
    file = other.file
    directory = other.directory
    trailer = other.trailer
    (digest, baseDigest) = (other.digest, other.baseDigest)
    resolvedBase = base
    pool = other.pool
    verifiesChecksums = other.verifiesChecksums
    formatVersion = other.formatVersion
  }

  // MARK: Directory

  /// Bytes of the file.
  public var fileBytes: UInt64 { trailer.fileLength }

  /// Tensors of the directory.
  public var tensorCount: Int { directory.count }

  /// Chunks of all tensors, in the order of the file.
  public var chunkCount: Int { directory.chunkCount }

  /// A tensor's description; tensors are numbered in the order of their names' bytes.
  public func tensor(_ index: Int) -> TensorInfo {
    let record = directory.record(index)
    let places = directory.places(index)
    var (storedBytes, compressions, relations) = (UInt64(0), Compressions(), (base: 0, difference: 0))
    for place in places {
      let chunk = directory.storedChunk(place)
      storedBytes += UInt64(chunk.storedLength)
      guard chunk.compressionCode >= Compression.allCases.count else {
        compressions.insert(chunk.compressionCode)
        continue
      }
      let coding = ChunkCoding(code: chunk.compressionCode)
      compressions.insert(coding?.stage.rawValue ?? 0)
      if coding?.relation == .equal { relations.base += 1 } else { relations.difference += 1 }
    }
    let guarantee = record.statistics.guaranteedMaxAbsError
    let escapeBytes = record.scheme.map { self.escapeBytes(of: places, scheme: $0, elements: record.elementCount) } ?? 0
    return TensorInfo(
      name: String(decoding: directory.name(index), as: UTF8.self), dtype: record.dtype, shape: directory.shape(index),
      elementCount: record.elementCount, role: record.role, reason: record.reason, scheme: record.scheme,
      statistics: record.statistics, guaranteedMaxAbsError: guarantee.isNaN ? nil : guarantee,
      guaranteedMaxRelError: record.scheme?.hasRelativeBound == true ? record.guaranteedRelative : nil,
      sourceBytes: record.sourceBytes, storedBytes: storedBytes, escapeBytes: escapeBytes, chunks: places,
      compressions: compressions.set, reference: record.reference, baseChunks: relations.base,
      differenceChunks: relations.difference)
  }

  /// What the chunks of a tensor have beyond scales and codes.
  private func escapeBytes(of places: ChunkPlaces, scheme: Scheme, elements: UInt64) -> UInt64 {
    guard scheme.hasEscapes else { return 0 }
    var (rest, bytes) = (elements, UInt64(0))
    for index in 0..<places.count - places.scaleCount {
      let count = min(rest, UInt64(TensorLayout.chunkElements))
      let base = TensorLayout.payloadByteCount(elements: Int(count), scheme: scheme)
      bytes += UInt64(directory.storedChunk(places.data(index)).rawLength) - UInt64(base)
      rest -= count
    }
    return bytes
  }

  /// What encoding did to the updates of pairs of moments, where it was measured: by first moment, in order.
  public var measuredPairs: [(first: Int, second: Int, error: UpdateError)] {
    directory.pairs.map { (Int($0.first), Int($0.second), $0.error) }
  }

  /// The number of the tensor of a name, or nil; O(log tensors).
  public func find(_ name: String) -> Int? { directory.find(name) }

  /// A chunk's description, by its place in the file's chunk table.
  public func chunk(_ index: Int) -> ChunkInfo {
    let record = directory.chunk(index)
    return ChunkInfo(
      offset: record.offset, storedLength: Int(record.storedLength), rawLength: Int(record.rawLength),
      hash: record.hash, compression: record.compression, kind: record.kind, tensor: Int(record.tensor),
      relation: record.relation)
  }

  /// The layout of a quantized tensor, or nil for a lossless one.
  public func layout(of index: Int) throws(QCodecError) -> TensorLayout? { try directory.plan(index).layout }

  /// The metadata document, read when asked for; an empty object where the file has none.
  ///
  /// Throws `metadataCorrupt` for a wrong checksum or what is no JSON object.
  public func metadata() throws(QCodecError) -> JSONValue { try Self.metadata(trailer, of: source) }

  static func metadata(_ trailer: Trailer, of source: any TensorSource) throws(QCodecError) -> JSONValue {
    let bytes = try source.bytes(at: trailer.metadataOffset, count: Int(trailer.metadataLength))
    guard xxh3(bytes) == trailer.metadataHash else {
      throw QCodecError(.metadataCorrupt, "the metadata's checksum is wrong", offset: trailer.metadataOffset)
    }
    guard !bytes.isEmpty else { return .object([:]) }
    do throws(QCodecError) {
      let document = try withCodecEnvironment { () throws(QCodecError) in try JSONValue(parsing: bytes) }
      guard case .object = document else { throw QCodecError(.metadataCorrupt, "the metadata is no JSON object") }
      return document
    } catch {
      throw QCodecError(
        .metadataCorrupt, error.message, offset: trailer.metadataOffset + (error.offset ?? 0))
    }
  }
}

/// Lossless stages of a tensor's chunks. There are so few that their sets are made once, not one for each tensor.
private struct Compressions {
  private var codes = 0
  private static let sets = (0..<1 << Compression.allCases.count).map { codes in
    Set(Compression.allCases.filter { codes >> $0.rawValue & 1 == 1 })
  }

  mutating func insert(_ code: UInt8) { codes |= 1 << code }

  var set: Set<Compression> { Self.sets[codes] }
}
