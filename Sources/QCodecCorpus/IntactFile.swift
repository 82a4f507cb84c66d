import QCheckpoint
import QCodec

/// A sound checkpoint in memory and all that it holds: what damaged copies of it are held against.
struct IntactFile: Sendable {
  /// One tensor as it decodes.
  struct Tensor: Sendable {
    let info: TensorInfo
    let bytes: [UInt8]
    /// Its chunks' places in the chunk table, in the order of the tensor.
    let chunks: [Int]
  }

  /// Where one chunk stands.
  struct Chunk: Sendable {
    /// From the end of what is before it: padding, the preamble if there is one, and the frame.
    let lead: Range<Int>
    let stored: Range<Int>
    let location: ChunkLocation
  }

  /// Bytes of a frame, which stands directly before stored bytes.
  static let frameSize = 24
  static let headerSize = 64

  let path: String
  let bytes: [UInt8]
  let metadata: JSONValue
  let tensors: [Tensor]
  /// In the order of the file.
  let chunks: [Chunk]
  private let numbers: [String: Int]

  /// Reads a file; throws what opening and reading throw, for a file that is not sound proves nothing.
  init(path: String) throws(QCodecError) {
    let file = try InputFile(path: path)
    let bytes = try file.bytes(at: 0, count: Int(file.byteCount))
    let reader = try CheckpointReader(source: MemorySource(bytes: bytes))
    try reader.checkAllBytes()
    self.path = path
    self.bytes = bytes
    metadata = try reader.metadata()
    var tensors: [Tensor] = []
    for index in 0..<reader.tensorCount {
      let info = reader.tensor(index)
      tensors.append(Tensor(info: info, bytes: try reader.bytes(ofTensor: index), chunks: Array(info.chunks)))
    }
    self.tensors = tensors
    var end = Self.headerSize
    chunks = (0..<reader.chunkCount).map { index in
      let chunk = reader.chunk(index)
      let stored = Int(chunk.offset)..<Int(chunk.offset) + chunk.storedLength
      defer { end = stored.upperBound }
      return Chunk(lead: end..<stored.lowerBound, stored: stored, location: reader.location(ofChunk: index))
    }
    numbers = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.info.name, $0) })
  }

  /// The number of the tensor of a name.
  func find(_ name: String) -> Int? { numbers[name] }

  /// The chunks that decoding a tensor takes, its second moment's included, as places in the chunk table.
  func chunksNeeded(by tensor: Int) -> [Int] {
    tensors[tensor].chunks + (tensors[tensor].info.reference.map { tensors[$0].chunks } ?? [])
  }
}
