import QCodec

/// The tensor of a base to which a tensor that is being written is compared, chunk by chunk.
struct BaseTensor: Sendable {
  private let reader: CheckpointReader
  private let places: ChunkPlaces
  /// The base's, for errors.
  private let name: String?

  /// The base's tensor of the same name, dtype, shape and scheme; nil where it has none.
  init?(_ reader: CheckpointReader, named name: String?, like tensor: TensorDescription, layout: TensorLayout?) {
    let directory = reader.directory
    guard let index = directory.find(tensor.name), directory.dtype(index) == tensor.dtype,
      directory.shape(index) == tensor.shape
    else { return nil }
    var scheme = ByteWriter()
    scheme.write(scheme: layout?.scheme)
    guard ByteFields(bytes: scheme.bytes).read(0) == directory.tensor(index).schemeCodes,
      Directory.areSame(directory.scheme(index)?.scheme.customTable, layout?.scheme.customTable)
    else { return nil }
    self.reader = reader
    self.name = name
    places = directory.places(index)
  }

  /// Bytes of the payload of a chunk, by its number in the tensor.
  func byteCount(ofChunk chunk: Int) -> Int { Int(reader.directory.chunk(places[chunk]).rawLength) }

  /// Puts the payload of a chunk, by its number in the tensor, into exactly its bytes.
  ///
  /// Throws what reading the base throws, which its message says.
  func read(chunk: Int, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    do throws(QCodecError) { try unsafe reader.readPayload(ofChunk: places[chunk], into: target) } catch {
      throw error.inBase(name)
    }
  }

  /// Whether a chunk has that payload; throws as `read(chunk:into:)`.
  func holds(_ payload: UnsafeRawBufferPointer, chunk: Int, pool: BufferPool) throws(QCodecError) -> Bool {
    let record = reader.directory.chunk(places[chunk])
    // Where nothing was compressed the checksum is that of the payload: most chunks differ, and need not be read.
    if record.compression == .none, unsafe xxh3(payload) != record.hash { return false }
    let own = pool.buffer(payload.count)
    try unsafe read(chunk: chunk, into: own.bytes)
    return unsafe payload.isEqual(to: own.contents)
  }
}
