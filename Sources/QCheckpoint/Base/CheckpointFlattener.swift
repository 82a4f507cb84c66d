import QCodec

/// Writes a checkpoint with a base anew so that it stands alone: the bytes that it would have been written as without a base.
///
/// Nothing is decoded or coded: chunks are copied, those of the base out of the base, and differences are undone and go
/// through their own lossless stage (zstd at level 1). The same bytes come of it if the base was written with the same stage.
/// The file appears under its name when `write` returns. Not to be shared between threads.
public final class CheckpointFlattener {
  private let reader: CheckpointReader
  private let output: OutputFile

  /// A file that will be replaced; throws `io`, and `wouldOverwriteInput` where it is the checkpoint or one of its bases.
  public convenience init(_ reader: CheckpointReader, path: String) throws(QCodecError) {
    if let identity = FileIdentity(path: path), reader.files.contains(identity) {
      throw QCodecError(.wouldOverwriteInput, "this is the checkpoint or one of its bases; choose another output")
    }
    self.init(reader, output: try OutputFile(path: path))
  }

  /// An open descriptor, a pipe for instance, which stays open; throws `io`.
  public convenience init(_ reader: CheckpointReader, descriptor: Int32) throws(QCodecError) {
    self.init(reader, output: try OutputFile(descriptor: descriptor))
  }

  /// A function that takes the bytes, in order and on the thread that calls `write`; what it throws is thrown by that.
  public convenience init(
    _ reader: CheckpointReader, writing function: @escaping (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) {
    unsafe self.init(reader, output: OutputFile(function: function))
  }

  private init(_ reader: CheckpointReader, output: OutputFile) {
    self.reader = reader
    self.output = output
  }

  /// The file that is written to until `write` puts it in place; nil for pipes and devices.
  public var temporaryPath: String? { output.temporaryPath }

  /// Writes the file and gives its length in bytes.
  ///
  /// - Parameters:
  ///   - threads: threads to use; they do not change the result.
  ///   - progress: called with the payload bytes written since the last call.
  ///
  /// Throws as `CheckpointReader.payload(ofChunk:)`, `metadataCorrupt`, `io` and `cancelled`; a previous file stays then.
  public func write(
    threads: Int = availableThreads(), progress: (UInt64) -> Void = { _ in }
  ) throws(QCodecError) -> UInt64 {
    do throws(QCodecError) {
      let metadata = try Self.metadata(of: reader)
      let own = try Header.check(reader.source.bytes(at: 0, count: Format.headerSize))
      let header = Header(allowsEscapes: own.features.contains(.escapes))
      try output.write(header.bytes)
      let directory = reader.directory.bytes(with: try writeChunks(threads: threads, progress: progress))
      try output.pad()
      try output.write(metadata: metadata, directory: directory, header: header, tensors: reader.tensorCount)
      try output.commit()
    } catch {
      output.abort()
      throw error
    }
    return output.position
  }

  private func writeChunks(
    threads: Int, progress: (UInt64) -> Void
  ) throws(QCodecError) -> [ChunkRecord] {
    let (reader, ordinals) = (reader, reader.tensorOrdinals())
    var records: [ChunkRecord] = []
    records.reserveCapacity(reader.chunkCount)
    try orderedPipeline(count: reader.chunkCount, threads: threads) { index throws(QCodecError) in
      try reader.flat(chunk: index)
    } consume: { (chunk: PreparedChunk) throws(QCodecError) in
      let index = records.count
      var record = reader.directory.chunk(index)
      (record.storedLength, record.hash) = (UInt32(chunk.stored.count), chunk.hash)
      (record.compression, record.relation) = (chunk.compression, .own)
      try output.write(reader.lead(of: record, index, after: output.position, ordinals: ordinals).bytes)
      record.offset = output.position
      try unsafe output.write(chunk.stored.contents)
      records.append(record)
      progress(UInt64(chunk.rawLength))
    }
    return records
  }

  /// The metadata without what they say of a base.
  private static func metadata(of reader: CheckpointReader) throws(QCodecError) -> [UInt8] {
    let document = try reader.metadata()
    guard reader.baseDigest != nil else {
      return try reader.source.bytes(at: reader.trailer.metadataOffset, count: Int(reader.trailer.metadataLength))
    }
    var members = document.objectValue ?? [:]
    members["base"] = nil
    return members.isEmpty ? [] : Array(JSONValue.object(members).serialized().utf8)
  }
}

extension CheckpointReader {
  /// A chunk as it would be stored without a base.
  fileprivate func flat(chunk index: Int) throws(QCodecError) -> PreparedChunk {
    let record = directory.chunk(index)
    let tensor = Int(record.tensor)
    switch record.relation {
    case .own:
      let stored = pool.buffer(Int(record.storedLength))
      try unsafe source.read(at: record.offset, into: stored.bytes)
      try unsafe check(stored.contents, ofChunk: index)
      return PreparedChunk(
        stored, kind: record.kind, rawLength: Int(record.rawLength), compression: record.compression, hash: record.hash)
    case .equal:
      // That it is the payload that is meant its checksum tells.
      try unsafe withPayload(ofChunk: index) { _ in }
      let (base, other) = try baseTensor(of: tensor)
      let number = numberInTensor(
        ofChunk: index, places: directory.places(tensor), stride: Int(directory.tensor(tensor).stride))
      return try base.flat(chunk: base.directory.places(other)[number])
    case .difference:
      let description = TensorDescription(
        name: "", dtype: directory.dtype(tensor), shape: directory.shape(tensor), role: .other,
        compression: record.compression)
      let preparation = try ChunkPreparation(
        description, layout: nil, scales: [], options: WriterOptions(), pool: pool)
      return try unsafe withPayload(ofChunk: index) { payload throws(QCodecError) in
        try unsafe preparation.alone(payload, kind: record.kind)
      }
    }
  }
}
