import QCodec

/// How a checkpoint is written.
public struct WriterOptions: Sendable {
  /// The lossless stage; chunks that gain less than 1/64 are stored plain.
  public var compression: Compression
  /// The level of zstd, from its fastest negative one to 22; other stages have none.
  public var zstdLevel: Int32
  /// Threads to use, 1 to 1,024; they do not change the bytes written.
  public var threads: Int { didSet { threads = Self.usable(threads) } }
  /// A checkpoint that the one to be written may refer to: chunks that are equal to its are not stored, and others are stored as
  /// their difference to its where that is smaller. Nobody can read those without it.
  public var base: CheckpointReader?
  /// Where readers are to look for the base: a path relative to the folder of the file.
  public var baseName: String?

  /// Whether tensors may have escapes. The header, which comes first, says so to readers that do not know them.
  public var allowsEscapes = false

  /// Creates options.
  public init(compression: Compression = .lz4, zstdLevel: Int32 = 1, threads: Int = availableThreads()) {
    self.compression = compression
    self.zstdLevel = zstdLevel
    self.threads = Self.usable(threads)
  }

  private static func usable(_ threads: Int) -> Int { min(max(1, threads), 1024) }
}

/// What was written.
public struct WriteSummary: Sendable, Equatable {
  /// Bytes of the file from header to trailer; 0 until it is complete.
  public var fileBytes: UInt64 = 0
  /// Bytes of all chunks as stored.
  public var storedBytes: UInt64 = 0
  /// Bytes of all tensors as given.
  public var sourceBytes: UInt64 = 0
  /// Tensors added.
  public var tensors: Int = 0
  /// Elements of all tensors.
  public var elements: UInt64 = 0
  /// Chunks that are the base's, and those that are stored as differences to the base's.
  public var baseChunks = 0, differenceChunks = 0
}

/// Writes a checkpoint strictly forward, tensor by tensor, to a file or a pipe.
///
/// The file appears under its name only when `finish` returns, and is on the disk then; until then, and after any error, a
/// crash or a kill, a previous file stays. What a killed process leaves beside it the next writer to the same path removes.
/// Whatever adds or finishes can be cancelled (`Cancellation`), which gives the checkpoint up; a child that the process
/// forks cannot go on with it. Memory: a few chunks a thread and one tensor's scale vector, besides 200 bytes and the name
/// for each tensor. Not to be shared between threads.
public final class CheckpointWriter {
  let options: WriterOptions
  let output: OutputFile
  let pool = BufferPool()
  var tensors: [(name: [UInt8], dims: [UInt64], record: TensorRecord)] = []
  var chunks: [ChunkRecord] = []
  private(set) var names: Set<[UInt8]> = []
  private var metadata: [UInt8] = []
  private(set) var summary = WriteSummary()
  /// Whether tensors can be added: until `finish`, `abort` or a failure.
  package private(set) var isOpen = true
  /// Tensors with chunks so far, by which frames count.
  private(set) var nextOrdinal: UInt32 = 0
  private var pairs: [PairRecord] = []

  /// Begins a checkpoint that will replace the file at `path`.
  ///
  /// Throws `io`, `wouldOverwriteInput` where that is the base or one behind it, and for a base `invalidArgument` and
  /// `limitExceeded`.
  public convenience init(path: String, options: WriterOptions = .init()) throws(QCodecError) {
    if let base = options.base, let identity = FileIdentity(path: path), base.files.contains(identity) {
      throw QCodecError(.wouldOverwriteInput, "this is the base, or a base of that; choose another output")
    }
    try self.init(output: OutputFile(path: path), options: options)
  }

  /// Begins a checkpoint on an open descriptor, a pipe for instance, which stays open; throws `io`.
  public convenience init(descriptor: Int32, options: WriterOptions = .init()) throws(QCodecError) {
    try self.init(output: OutputFile(descriptor: descriptor), options: options)
  }

  /// Begins a checkpoint whose bytes a function takes, in order and on the thread that adds tensors.
  ///
  /// What the function throws ends the checkpoint and is thrown by the call that wrote. It is not called after `finish`
  /// or `abort`; an aborted checkpoint lacks its trailer.
  public convenience init(
    writing function: @escaping (UnsafeRawBufferPointer) throws(QCodecError) -> Void, options: WriterOptions = .init()
  ) throws(QCodecError) {
    try unsafe self.init(output: OutputFile(function: function), options: options)
  }

  private init(output: OutputFile, options: WriterOptions) throws(QCodecError) {
    self.output = output
    self.options = options
    metadata = try Self.document(.object([:]), options) ?? []
    try output.write(header.bytes)
  }

  private var header: Header { Header(allowsEscapes: options.allowsEscapes, base: options.base?.digest) }

  /// The file that is written to until `finish` puts it in place; nil for pipes and devices.
  ///
  /// For programs that a signal may end: whoever handles it can remove the file.
  public var temporaryPath: String? { output.temporaryPath }

  /// Sets the user metadata and policy document, an object; the last call that succeeds counts. What it says of a base
  /// gives way to what the options say.
  ///
  /// Throws `limitExceeded` above 256 MiB, `invalidArgument` for what is no object, `invalidJSON` for too many levels.
  public func setMetadata(_ document: JSONValue) throws(QCodecError) {
    guard case .object = document else { throw QCodecError(.invalidArgument, "the metadata are no JSON object") }
    let bytes = try Self.document(document, options) ?? Array(document.serialized().utf8)
    guard bytes.count <= Format.maximumMetadata else { throw QCodecError(.limitExceeded, "metadata above 256 MiB") }
    // A reader must take what is written.
    _ = try withCodecEnvironment { () throws(QCodecError) in try JSONValue(parsing: bytes) }
    metadata = bytes
  }

  /// Adds a tensor.
  ///
  /// The whole tensor is looked over before its first byte is written wherever a decision depends on it.
  ///
  /// - Parameters:
  ///   - name: 1 byte to 64 KiB of UTF-8, unlike every other.
  ///   - dtype: the type of the elements.
  ///   - shape: up to 32 lengths.
  ///   - role: what the tensor is to the optimizer.
  ///   - encoding: how it is to be stored.
  ///   - source: the elements in C order, exactly as many bytes as dtype and shape imply.
  ///   - nonFinite: what to do with NaN and ±∞ in a tensor to be quantized.
  ///   - negativeFallsBack: whether a negative element under an unsigned map makes the tensor lossless, not an error.
  ///   - compression: the lossless stage of this tensor; nil for that of the options.
  ///
  /// Throws `invalidName`, `duplicateName`, `invalidShape`, `limitExceeded`, `shapeMismatch`, `unsupportedScheme` before
  /// anything is written; `nonFiniteValue`, `negativeValue` and `io`, which abort the file.
  public func add(
    name: String, dtype: DType, shape: [UInt64], role: Role = .other, encoding: Encoding,
    source: any TensorSource, nonFinite: NonFinitePolicy = .error, negativeFallsBack: Bool = false,
    compression: Compression? = nil
  ) throws(QCodecError) {
    let tensor = NewTensor(
      name: name, dtype: dtype, role: role, encoding: encoding, negativeFallsBack: negativeFallsBack,
      compression: compression, source: source)
    try add([.tensor(tensor, shape: shape)], nonFinite: nonFinite)
  }

  /// Adds a tensor whose bytes are pushed into a sink, for sources that cannot be read twice.
  ///
  /// Block schemes and lossless only: others need a first pass. A value that the scheme cannot hold aborts the file.
  /// Throws as `add(name:dtype:shape:role:encoding:source:nonFinite:negativeFallsBack:)`, and `shapeMismatch` where
  /// `body` gives the sink fewer or more bytes than dtype and shape imply.
  public func add(
    name: String, dtype: DType, shape: [UInt64], role: Role = .other, encoding: Encoding,
    pushing body: (TensorSink) throws(QCodecError) -> Void
  ) throws(QCodecError) {
    let tensor = TensorDescription(name: name, dtype: dtype, shape: shape, role: role, compression: nil)
    _ = try check(tensor)
    let layout = try Self.layout(of: tensor, encoding)
    if let layout, ScalePass.isNeeded(for: layout) {
      throw QCodecError(
        .unsupportedScheme, "\(layout.scheme.scaling.name) scaling reads a tensor twice; what is pushed is read once",
        tensor: name)
    }
    try Self.refuseAlone(layout, name: name)
    try writing([tensor]) { () throws(QCodecError) in
      let chunks = try ChunkPreparation(tensor, layout: layout, scales: [], options: options, pool: pool)
      let sink = TensorSink(
        writer: self, tensor: try open(tensor, layout: layout, reason: encoding.reason), chunks: chunks)
      try body(sink)
      close(tensor, try sink.finish())
    }
  }

  /// Completes the checkpoint, flushes it to the disk and puts it in place; throws `io`, `cancelled` and `writerClosed`.
  public func finish() throws(QCodecError) -> WriteSummary {
    guard isOpen else { throw QCodecError(.writerClosed, "the checkpoint is already complete") }
    isOpen = false
    do throws(QCodecError) {
      try output.pad()
      try output.write(metadata: metadata, directory: directoryBytes, header: header, tensors: tensors.count)
      try output.commit()
    } catch {
      output.abort()
      throw error
    }
    summary.fileBytes = output.position
    return summary
  }

  /// Gives the checkpoint up: no file appears, a previous one stays; a pipe ends without trailer.
  public func abort() {
    isOpen = false
    output.abort()
  }

  // MARK: Parts

  /// The bytes of a tensor that may be added.
  func check(_ tensor: TensorDescription) throws(QCodecError) -> UInt64 {
    let (name, length) = (tensor.name, tensor.name.utf8.count)
    guard isOpen else { throw QCodecError(.writerClosed, "the checkpoint is already complete", tensor: name) }
    guard (1...Format.maximumNameLength).contains(length) else {
      throw QCodecError(.invalidName, "a name has 1 to 65,536 bytes, not \(length)")
    }
    guard !names.contains(Array(name.utf8)) else {
      throw QCodecError(.duplicateName, "a tensor of this name was added before", tensor: name)
    }
    guard UInt64(tensors.count) < Format.maximumTensors else {
      throw QCodecError(.limitExceeded, "more than 2^32 tensors", tensor: name)
    }
    guard tensor.shape.count <= Format.maximumDims else {
      throw QCodecError(.invalidShape, "\(tensor.shape.count) dims, 32 at most", tensor: name)
    }
    do throws(QCodecError) {
      let bytes = try tensor.dtype.byteCount(elements: try TensorLayout.elementCount(of: tensor.shape))
      guard bytes < Format.maximumFile else {
        throw QCodecError(.limitExceeded, "\(bytes) bytes of a tensor, fewer than 2^63 at most")
      }
      return bytes
    } catch {
      throw error.named(name)
    }
  }

  func check(_ tensor: TensorDescription, source: any TensorSource) throws(QCodecError) {
    let bytes = try check(tensor)
    guard source.byteCount == bytes else {
      throw QCodecError(
        .shapeMismatch, "\(tensor.dtype.name) \(tensor.shape) has \(bytes) bytes, its source \(source.byteCount)",
        tensor: tensor.name)
    }
  }

  static func refuseAlone(_ layout: TensorLayout?, name: String) throws(QCodecError) {
    guard layout?.scheme.domain != .update else {
      throw QCodecError(
        .unsupportedScheme, "a first moment in the update domain is added with its second moment", tensor: name)
    }
  }

  static func layout(
    of tensor: TensorDescription, _ encoding: Encoding, hasEscapes: Bool = false
  ) throws(QCodecError) -> TensorLayout? {
    guard case .quantized(var scheme, _) = encoding else { return nil }
    scheme.hasEscapes = hasEscapes
    guard scheme.rounding != .unknown, scheme.scaleRule != .unknown else {
      throw QCodecError(.unsupportedScheme, "imported schemes are decoded, not encoded", tensor: tensor.name)
    }
    do throws(QCodecError) {
      return try TensorLayout(dtype: tensor.dtype, shape: tensor.shape, scheme: scheme)
    } catch {
      throw error.named(tensor.name)
    }
  }

  /// Does work that writes chunks; any failure gives the checkpoint up, and is named after the last of the tensors.
  func writing(_ added: [TensorDescription], _ body: () throws(QCodecError) -> Void) throws(QCodecError) {
    do throws(QCodecError) { try body() } catch {
      abort()
      throw error.named(added[added.count - 1].name)
    }
  }

  /// Takes in the record of a tensor whose chunks are written.
  func close(_ tensor: TensorDescription, _ record: TensorRecord) {
    var record = record
    if record.scheme?.hasRelativeBound == true {
      record.guaranteedRelative = record.statistics.guaranteedMaxRelError
    }
    summary.tensors += 1
    summary.elements += record.elementCount
    summary.sourceBytes += record.sourceBytes
    let name = Array(tensor.name.utf8)
    names.insert(name)
    tensors.append((name, tensor.shape, record))
  }

  /// Notes what coding did to the update of a pair, whose tensors are given by their order of addition.
  ///
  /// What is not finite is not recorded: with ε = 0 a second moment of zero makes it so.
  func note(pair first: Int, _ second: Int, _ error: UpdateError) {
    guard error.isFinite else { return }
    pairs.append(PairRecord(first: UInt32(first), second: UInt32(second), error: error))
  }

  /// Writes one chunk with what stands before it, and its record.
  func append(_ chunk: PreparedChunk, to tensor: inout OpenTensor) throws(QCodecError) {
    let isFirst = tensor.chunkCount == 0
    if isFirst {
      tensor.record.firstChunk = UInt64(chunks.count)
      tensor.ordinal = nextOrdinal
      nextOrdinal += 1
    }
    let frame = ChunkFrame(
      storedLength: UInt32(chunk.stored.count), compression: chunk.compression, kind: chunk.kind,
      tensor: tensor.ordinal, index: UInt32(tensor.chunkCount), hash: chunk.hash, relation: chunk.relation)
    tensor.chunkCount += 1
    tensor.record.chunkCount = tensor.chunkCount
    try output.write(Lead.bytes(after: output.position, preamble: isFirst ? tensor.preamble : nil, frame: frame))
    chunks.append(
      ChunkRecord(
        offset: output.position, storedLength: UInt32(chunk.stored.count), rawLength: UInt32(chunk.rawLength),
        hash: chunk.hash, compression: chunk.compression, kind: chunk.kind, tensor: tensor.number,
        relation: chunk.relation))
    try unsafe output.write(chunk.stored.contents)
    summary.storedBytes += UInt64(chunk.stored.count)
    switch chunk.relation {
    case .own: break
    case .equal: summary.baseChunks += 1
    case .difference: summary.differenceChunks += 1
    }
  }

  private var directoryBytes: [UInt8] {
    var builder = DirectoryBuilder()
    return builder.build(tensors: tensors, chunks: chunks, pairs: pairs)
  }
}

extension QCodecError {
  /// The error with the tensor's name, where it had none.
  func named(_ name: String) -> QCodecError {
    var copy = self
    if copy.tensor == nil { copy.tensor = name }
    return copy
  }
}
