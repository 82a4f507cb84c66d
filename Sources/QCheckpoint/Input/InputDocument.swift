import QCodec

/// One tensor of a document to be encoded or compared with.
public struct InputTensor: Sendable {
  /// The name under which it would be stored.
  public let name: String
  /// The type of its elements.
  public let dtype: DType
  /// The lengths of its axes, C order.
  public let shape: [UInt64]
  /// Its bytes, C order, little-endian.
  public let source: any TensorSource
  /// What it is to the optimizer, where its name does not tell.
  public let role: Role

  /// Describes a tensor.
  public init(name: String, dtype: DType, shape: [UInt64], source: any TensorSource, role: Role = .other) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
    self.source = source
    self.role = role
  }
}

/// What any of the formats that qcodec reads holds: tensors and metadata.
public struct InputDocument: Sendable {
  /// The tensors in the order of the file.
  public let tensors: [InputTensor]
  /// The user's metadata; empty where the format has none.
  public let metadata: [String: String]
  /// What the document is, for people: "safetensors", "a safetensors index of 3 shards", …
  public let kind: String
  /// Every file that is read, by which writing onto an input is noticed.
  public let files: Set<FileIdentity>
  /// The checkpoint whose tensors these are, or some of them; nil for other formats.
  public let checkpoint: CheckpointReader?

  /// Describes a document, of tensors in memory for instance.
  public init(
    tensors: [InputTensor], metadata: [String: String], kind: String, files: Set<FileIdentity>,
    checkpoint: CheckpointReader? = nil
  ) {
    self.tensors = tensors
    self.metadata = metadata
    self.kind = kind
    self.files = files
    self.checkpoint = checkpoint
  }
}

/// Opens a document by its content: safetensors, a `model.safetensors.index.json` with its shards, .npy, .npz or
/// .qckpt.
///
/// Headers are read and checked now, tensors when they are asked for. Throws `io`, `notACheckpoint` with what the file
/// is instead, and each format's own errors with their byte offsets.
///
/// - Parameters:
///   - path: where the document is.
///   - bases: checkpoints that may be the base of a checkpoint, or one behind that.
public func openInput(path: String, bases: [CheckpointReader] = []) throws(QCodecError) -> InputDocument {
  try openInput(file: InputFile(path: path), path: path, bases: bases)
}

/// Opens a document in an open file; `path` gives a .npy array its name, and an index and a checkpoint with a base their
/// folder.
///
/// Throws as `openInput(path:bases:)`.
public func openInput(
  file: InputFile, path: String, bases: [CheckpointReader] = []
) throws(QCodecError) -> InputDocument {
  let start = try file.bytes(at: 0, count: Int(min(file.byteCount, 256)))
  if start.starts(with: Format.magic[..<4]) {
    return try InputDocument(
      checkpoint: CheckpointReader(file: file, folder: splitPath(path).folder, bases: bases), file)
  }
  switch ForeignFile.identify(start) {
  case .safetensors: return InputDocument(try SafetensorsFile(input: file))
  case .numpy: return try InputDocument(array: NumpyFile(input: file), file, path: path)
  case .zip: return try InputDocument(archive: NpzFile(input: file), file)
  case .json: return try InputDocument(index: file, path: path)
  case .some(let kind): throw QCodecError(.notACheckpoint, "the file is \(kind.description)", offset: 0)
  case nil: throw unrecognised(file, path: path)
  }
}

/// The error for a file that nothing is known of by its content; its name tells what it was meant to be.
private func unrecognised(_ file: InputFile, path: String) -> QCodecError {
  if path.hasSuffix(".safetensors") {
    do throws(QCodecError) { _ = try SafetensorsFile(input: file) } catch { return error }
  }
  if file.byteCount == 0 { return QCodecError(.notACheckpoint, "the file is empty", offset: 0) }
  return QCodecError(
    .notACheckpoint, "the file is none of safetensors, safetensors index, .npy, .npz and .qckpt", offset: 0)
}

extension InputDocument {
  fileprivate init(_ file: SafetensorsFile) {
    self.init(
      tensors: file.tensors, metadata: file.metadata, kind: "safetensors", files: [file.input.identity])
  }

  fileprivate init(array: NumpyFile, _ file: InputFile, path: String) throws(QCodecError) {
    let (_, name) = splitPath(path)
    let stem = name.hasSuffix(".npy") ? String(name.dropLast(4)) : name
    let tensor = InputTensor(
      name: stem.isEmpty ? "array" : stem, dtype: array.dtype, shape: array.shape, source: array.source)
    self.init(tensors: [tensor], metadata: [:], kind: "NumPy array", files: [file.identity])
  }

  fileprivate init(archive: NpzFile, _ file: InputFile) throws(QCodecError) {
    self.init(
      tensors: archive.arrays.map { InputTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape, source: $0.source) },
      metadata: [:], kind: "NumPy archive", files: [file.identity])
  }

  fileprivate init(index file: InputFile, path: String) throws(QCodecError) {
    guard file.byteCount <= UInt64(SafetensorsFile.maximumHeader) else {
      throw QCodecError(.notACheckpoint, "the file is a JSON document, too large for an index")
    }
    let document = try JSONValue(parsing: try file.bytes(at: 0, count: Int(file.byteCount)))
    guard SafetensorsIndex.describes(document) else {
      throw QCodecError(
        .notACheckpoint, "the file is a JSON document without the weight_map of a safetensors index")
    }
    let index = try SafetensorsIndex(document: document, folder: splitPath(path).folder)
    self.init(
      tensors: index.shards.flatMap(\.file.tensors), metadata: index.metadata,
      kind: "safetensors index of \(index.shards.count) shards",
      files: Set(index.shards.map(\.file.input.identity)).union([file.identity]))
  }

  fileprivate init(checkpoint reader: CheckpointReader, _ file: InputFile) throws(QCodecError) {
    let cache = LastUsed<TensorContents>()
    let tensors = (0..<reader.tensorCount).map { index in
      let info = reader.tensor(index)
      let source = CheckpointTensorSource(reader: reader, index: index, byteCount: info.sourceBytes, cache: cache)
      return InputTensor(name: info.name, dtype: info.dtype, shape: info.shape, source: source)
    }
    let metadata = try reader.metadata()["metadata"]?.objectValue ?? [:]
    self.init(
      tensors: tensors, metadata: metadata.compactMapValues(\.stringValue), kind: "qcodec checkpoint",
      files: reader.files.union([file.identity]), checkpoint: reader)
  }
}

extension SafetensorsFile {
  /// The tensors with their sources, in file order.
  public var tensors: [InputTensor] {
    entries.map { InputTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape, source: source(of: $0)) }
  }
}

/// A tensor of a checkpoint, decoded as it is read; the scale vector of the tensor read last is kept.
private struct CheckpointTensorSource: TensorSource {
  let reader: CheckpointReader
  let index: Int
  let byteCount: UInt64
  let cache: LastUsed<TensorContents>

  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    let contents = try cache.value(for: index) { () throws(QCodecError) in try reader.contents(of: index) }
    try unsafe contents.read(at: offset, into: target)
  }
}

/// A path's folder, slash included (empty for none), and its last component.
func splitPath(_ path: String) -> (folder: String, name: String) {
  guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
  return (String(path[...slash]), String(path[path.index(after: slash)...]))
}
