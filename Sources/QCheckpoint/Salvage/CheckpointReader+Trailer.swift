import QCodec

extension CheckpointReader {
  /// A reader of a file whose trailer and directory are sound while its header is not, or its length is another because
  /// bytes before them were added or lost; nil where they are not.
  ///
  /// The trailer repeats the checksum of the header, and so vouches for a version and features that this reader knows, and
  /// for the base that was given or that the metadata tell.
  convenience init?(byTrailerOf source: any TensorSource, file: InputFile?, resolver: BaseResolver) {
    guard let found = FoundDirectory(source, bases: resolver.bases) else { return nil }
    var base = ResolvedBase()
    if let digest = found.base {
      let resolved = try? ResolvedBase(digest, by: resolver, pool: BufferPool()) { () throws(QCodecError) in
        try CheckpointReader.metadata(found.trailer, of: source)
      }
      guard let resolved else { return nil }
      base = resolved
    }
    self.init(
      directory: found.directory, trailer: found.trailer, source: source, file: file, digest: found.digest,
      baseDigest: found.base, base: base)
  }
}

/// The directory that a trailer at the end of a file leads to.
private struct FoundDirectory {
  let directory: Directory
  /// As stored, but for the places, which are those in this file.
  let trailer: Trailer
  let digest: Hash128
  /// The digest of the base that the lost header had.
  let base: Hash128?

  init?(_ source: any TensorSource, bases: [CheckpointReader]) {
    let length = source.byteCount
    let size = UInt64(Format.trailerSize)
    guard length >= size,
      let end = try? source.bytes(at: length - size, count: Format.trailerSize)
    else { return nil }
    let recorded: UInt64 = ByteFields(bytes: end).read(56)
    let header: UInt64 = ByteFields(bytes: end).read(48)
    guard recorded >= size, recorded < Format.maximumFile,
      var trailer = try? Trailer(end, headerHash: header, fileLength: recorded)
    else { return nil }
    digest = Hash128(of: end)
    // What was added or lost before the directory moved it together with the trailer.
    let moved = length &- recorded
    let start = trailer.directoryOffset &+ moved
    guard start <= length - size, trailer.directoryLength <= length - size - start,
      let bytes = try? source.bytes(at: start, count: Int(trailer.directoryLength)),
      xxh3(bytes) == trailer.directoryHash
    else { return nil }
    var moving = trailer
    moving.metadataOffset = trailer.metadataOffset &+ moved
    let candidates = [nil] + bases.map(\.digest) + [Self.recordedBase(moving, of: source)]
    let headers = candidates.flatMap { base in [false, true].map { Header(allowsEscapes: $0, base: base) } }
    guard let known = headers.first(where: { $0.hash == header }) else { return nil }
    base = known.base
    let places = trailer
    let parsed = try? withCodecEnvironment { () throws(QCodecError) in
      try DirectoryParser.parse(
        bytes, at: places.directoryOffset, tensorCount: places.tensorCount, chunksEnd: places.metadataOffset,
        features: known.features)
    }
    guard let parsed else { return nil }
    directory = parsed
    (trailer.directoryOffset, trailer.fileLength) = (start, length)
    trailer.metadataOffset = moving.metadataOffset
    self.trailer = trailer
  }

  /// The digest of a base that the metadata tell, where they are sound.
  private static func recordedBase(_ trailer: Trailer, of source: any TensorSource) -> Hash128? {
    guard trailer.metadataOffset <= source.byteCount,
      trailer.metadataLength <= source.byteCount - trailer.metadataOffset
    else { return nil }
    let document = try? CheckpointReader.metadata(trailer, of: source)
    return (document?["base"]?["digest"]?.stringValue).flatMap { Hash128($0) }
  }
}

extension CheckpointReader {
  /// Looks for the chunks that are not at their places, by their checksums at every byte of the file.
  ///
  /// Returns a reader that knows their places, and how many were found. O(bytes) where any is missing, else O(chunks).
  /// Throws `cancelled` alone.
  func findingMovedChunks(threads: Int) throws(QCodecError) -> (reader: CheckpointReader, moved: Int) {
    let missing = ResultSlots<Int>(count: chunkCount)
    try parallelFor(count: chunkCount, threads: threads) { (index) throws(QCodecError) in
      do throws(QCodecError) { try self.checkStored(ofChunk: index) } catch { missing[index] = index }
    }
    let places = try ChunkSearch(missing.inOrder.map { ($0, directory.chunk($0)) }).run(source)
    guard !places.isEmpty else { return (self, 0) }
    let moved = CheckpointReader(
      directory: directory.moving(places), trailer: trailer, source: source, file: file, digest: digest,
      baseDigest: baseDigest, base: resolvedBase)
    return (moved, places.count)
  }
}

/// Looks for chunks by the frames before them, wherever they are.
private struct ChunkSearch {
  private static let windowSize = 1 << 20

  /// By checksum, the places in the chunk table; equal chunks stand for each other.
  private var wanted: [UInt64: [Int]] = [:]
  private let records: [Int: ChunkRecord]

  init(_ missing: [(Int, ChunkRecord)]) {
    records = Dictionary(uniqueKeysWithValues: missing)
    for (index, record) in missing { wanted[record.hash, default: []].append(index) }
  }

  /// Where stored bytes were found, by place in the chunk table.
  func run(_ source: any TensorSource) throws(QCodecError) -> [Int: UInt64] {
    var found: [Int: UInt64] = [:]
    var rest = wanted
    var start: UInt64 = 0
    // Bytes that may be hashed: a hostile file must not make the work quadratic.
    var patience = source.byteCount.multipliedReportingOverflow(by: 8).partialValue
    while !rest.isEmpty, start + UInt64(ChunkFrame.size) <= source.byteCount {
      let count = Int(min(source.byteCount - start, UInt64(Self.windowSize)))
      try Cancellation.check()
      // What cannot be read holds no chunk.
      let window = (try? source.bytes(at: start, count: count)) ?? []
      for (offset, hash) in Self.frames(in: window) {
        guard let indices = rest[hash], let record = records[indices[0]] else { continue }
        let place = start + UInt64(offset + ChunkFrame.size)
        guard UInt64(record.storedLength) <= patience else { return found }
        patience -= UInt64(record.storedLength)
        guard Self.holds(record, at: place, of: source) else { continue }
        for index in indices { found[index] = place }
        rest[hash] = nil
      }
      start += UInt64(max(1, Self.windowSize - ChunkFrame.size + 1))
    }
    try Cancellation.check()
    return found
  }

  /// Where bytes look like a frame, and the checksum that they give.
  private static func frames(in window: [UInt8]) -> [(offset: Int, hash: UInt64)] {
    guard window.count >= ChunkFrame.size else { return [] }
    return unsafe window.withUnsafeBytes { bytes in
      var result: [(offset: Int, hash: UInt64)] = []
      for offset in 0...bytes.count - ChunkFrame.size {
        // Lengths up to some mebibytes, known coding and kind, no reserved bits: few other bytes look so.
        let head = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        guard head >> 48 == 0, head & 0xFFFF_FFFF <= 1 << 22, head >> 32 & 0xFF < ChunkCoding.count,
          head >> 40 & 0xFF < 3,
          head & 0xFFFF_FFFF > 0
        else { continue }
        let hash = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt64.self))
        result.append((offset, hash))
      }
      return result
    }
  }

  private static func holds(_ record: ChunkRecord, at place: UInt64, of source: any TensorSource) -> Bool {
    guard place <= source.byteCount, UInt64(record.storedLength) <= source.byteCount - place,
      let stored = try? source.bytes(at: place, count: Int(record.storedLength))
    else { return false }
    return xxh3(stored) == record.hash
  }
}
