import QCodec

/// Finds the base of a checkpoint: among those given by its digest, else at the place that the metadata name.
struct BaseResolver: Sendable {
  /// The most bases behind one another.
  static let maximumChain = 64

  /// The folder of the file, slash included, empty for the current one; nil where the file has no place.
  var folder: String?
  /// Checkpoints that may be bases.
  var bases: [CheckpointReader] = []
  /// How many files refer to the one whose base this finds.
  var depth = 0
  /// Memory that all of a chain share, so that its length costs none.
  var pool: BufferPool?

  /// The reader of the base; `document` gives the metadata, which are asked where no base was given.
  ///
  /// Throws `baseMissing`, `baseMismatch`, `limitExceeded`, and what opening it or reading the metadata throws.
  func resolve(
    _ digest: Hash128, pool: BufferPool, document: () throws(QCodecError) -> JSONValue
  ) throws(QCodecError) -> CheckpointReader {
    guard depth < Self.maximumChain else { throw Self.tooLong }
    var next = self
    (next.depth, next.pool) = (depth + 1, pool)
    if let given = bases.first(where: { $0.digest == digest }) {
      let base = given.completed(by: next)
      guard depth + 1 + base.chainLength <= Self.maximumChain else { throw Self.tooLong }
      return base
    }
    guard folder != nil else { throw Self.missing(digest, "the file has no place beside which to look") }
    return try next.open(digest, named: try document()["base"]?["name"]?.stringValue)
  }

  private static var tooLong: QCodecError {
    QCodecError(.limitExceeded, "a chain of more than \(maximumChain) bases")
  }

  private static func missing(_ digest: Hash128, _ why: String) -> QCodecError {
    QCodecError(.baseMissing, "the base, of digest \(digest), is not at hand: \(why)")
  }

  private func open(_ digest: Hash128, named name: String?) throws(QCodecError) -> CheckpointReader {
    guard let folder, let name else { throw Self.missing(digest, "the metadata do not name it") }
    // Advice of a file from anywhere: what does not lie relative to it is not followed.
    guard !name.isEmpty, !name.hasPrefix("/"), !name.utf8.contains(0), name.utf8.count <= 4096 else {
      throw Self.missing(digest, "its name '\(name)' is no relative path")
    }
    let path = folder + name
    guard FileIdentity(path: path) != nil else {
      throw Self.missing(digest, "there is no file '\(name)' where it was beside this one")
    }
    let base: CheckpointReader
    do throws(QCodecError) {
      let file = try InputFile(path: path)
      var resolver = self
      resolver.folder = splitPath(path).folder
      base = try CheckpointReader(
        source: FileRangeSource(file: file, offset: 0, byteCount: file.byteCount), file: file, verifyChecksums: true,
        resolver: resolver)
    } catch {
      throw error.inBase(name)
    }
    guard let found = base.digest, found == digest else {
      throw QCodecError(
        .baseMismatch,
        "'\(name)' is another checkpoint than the base: of digest \(base.digest?.description ?? "none"), not \(digest)")
    }
    return base
  }
}

extension QCodecError {
  /// The error as one of the base's, to whom the offset belongs; a stopped call is nobody's.
  func inBase(_ name: String?) -> QCodecError {
    guard code != .cancelled else { return self }
    var copy = self
    copy.message = "the base\(name.map { " '\($0)'" } ?? ""): \(message)"
    return copy
  }
}

extension Hash128 {
  /// A hash by the sixteen bytes of its canonical form.
  init(bytes: some Collection<UInt8>) {
    precondition(bytes.count == 16, "a hash has sixteen bytes")
    let halves = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    self.init(high: halves, low: bytes.dropFirst(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  /// The hash of bytes in memory.
  init(of bytes: [UInt8]) {
    let hash = StreamingHash128()
    hash.append(bytes)
    self = hash.value
  }
}
