import QCodec

extension CheckpointReader {
  /// The base, where the file has one and it was found.
  public var base: CheckpointReader? { resolvedBase.reader }

  /// Why the base is not at hand: `baseMissing`, `baseMismatch`, or what opening it threw; nil where it is, or none is needed.
  public var baseFailure: QCodecError? { resolvedBase.failure }

  /// Bases behind this file that were found, each the base of the one before.
  public var chainLength: Int {
    var (count, next) = (0, base)
    while let reader = next { (count, next) = (count + 1, reader.base) }
    return count
  }

  /// The file, and those of its bases.
  public var files: Set<FileIdentity> {
    var (result, next): (Set<FileIdentity>, CheckpointReader?) = ([], self)
    while let reader = next {
      if let file = reader.file { result.insert(file.identity) }
      next = reader.base
    }
    return result
  }

  /// Chunks that are the base's, and those that are stored as differences to the base's.
  public var relatedChunks: (equal: Int, different: Int) {
    let relations = (0..<chunkCount).map { chunk($0).relation }
    return (relations.count { $0 == .equal }, relations.count { $0 == .difference })
  }

  /// A reader of the same checkpoint with bases at hand, of which those count that it or its bases refer to.
  ///
  /// Where one is none of them nothing changes; `baseFailure` tells whether the base is still missing. Nothing is read.
  public func withBases(_ bases: [CheckpointReader]) -> CheckpointReader {
    guard let digest = baseDigest else { return self }
    let resolver = BaseResolver(folder: nil, bases: bases)
    // Given ones alone are asked, which cannot be stopped.
    guard let found = try? ResolvedBase(digest, by: resolver, pool: pool), found.reader != nil else {
      return completed(by: resolver)
    }
    return CheckpointReader(self, base: found)
  }

  /// This reader, with what its chain lacks taken from the bases that a resolver was given.
  func completed(by resolver: BaseResolver) -> CheckpointReader {
    guard let digest = baseDigest, !resolver.bases.isEmpty else { return self }
    if let own = base {
      var next = resolver
      next.depth += 1
      guard next.depth <= BaseResolver.maximumChain else { return self }
      let base = own.completed(by: next)
      return base === own ? self : CheckpointReader(self, base: ResolvedBase(base))
    }
    var given = resolver
    given.folder = nil
    guard let found = try? ResolvedBase(digest, by: given, pool: pool), found.reader != nil else { return self }
    return CheckpointReader(self, base: found)
  }

  // MARK: Chunks

  /// The tensor of the base that has a tensor's name, dtype, shape and scheme.
  func baseTensor(of tensor: Int) throws(QCodecError) -> (reader: CheckpointReader, tensor: Int) {
    if let failure = baseFailure { throw failure.named(String(decoding: directory.name(tensor), as: UTF8.self)) }
    guard let base else {
      preconditionFailure("a chunk of a base in a file without one, which no check let pass")
    }
    let name = String(decoding: directory.name(tensor), as: UTF8.self)
    guard let other = base.directory.find(name) else {
      throw QCodecError(.baseMismatch, "the base has no tensor of this name", tensor: name)
    }
    guard base.directory.isLike(other, directory, tensor) else {
      throw QCodecError(.baseMismatch, "the base's tensor has another dtype, shape or scheme", tensor: name)
    }
    return (base, other)
  }

  /// Puts the base's payload of a chunk into exactly its bytes.
  func readBasePayload(ofChunk index: Int, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    let tensor = Int(directory.chunk(index).tensor)
    let (base, other) = try baseTensor(of: tensor)
    let number = numberInTensor(
      ofChunk: index, places: directory.places(tensor), stride: Int(directory.tensor(tensor).stride))
    let place = base.directory.places(other)[number]
    // Under a scheme with escapes chunks are of several lengths.
    guard Int(base.directory.chunk(place).rawLength) == target.count else {
      throw QCodecError(
        .baseMismatch, "the base's chunk has another length: \(location(ofChunk: index))",
        tensor: tensorName(ofChunk: index))
    }
    do throws(QCodecError) { try unsafe base.readPayload(ofChunk: place, into: target) } catch {
      throw error.inBase(nil)
    }
  }
}

extension CheckpointReader {
  /// Bytes of a chunk of a tensor before the lossless stage; nil where there is no such chunk.
  func rawLength(ofChunk number: Int, of name: [UInt8]) -> Int? {
    guard let tensor = directory.find(String(decoding: name, as: UTF8.self)) else { return nil }
    let places = directory.places(tensor)
    return places.indices.contains(number) ? Int(directory.chunk(places[number]).rawLength) : nil
  }
}

extension Directory {
  /// Whether a tensor has the dtype, shape and scheme of another directory's, so that their chunks correspond.
  func isLike(_ own: Int, _ other: Directory, _ tensor: Int) -> Bool {
    let (one, two) = (self.tensor(own), other.tensor(tensor))
    guard one.dtypeCode == two.dtypeCode, one.schemeCodes == two.schemeCodes, shape(own) == other.shape(tensor) else {
      return false
    }
    return Self.areSame(scheme(own)?.scheme.customTable, other.scheme(tensor)?.scheme.customTable)
  }

  /// Whether custom tables have the same entries.
  static func areSame(_ one: MapTable?, _ other: MapTable?) -> Bool {
    guard let one, let other else { return one == nil && other == nil }
    return one.digest == other.digest && one.entries.elementsEqual(other.entries) { $0.bitPattern == $1.bitPattern }
  }
}
