import QCodec

/// One tensor of a checkpoint, as its directory describes it.
public struct TensorInfo: Sendable {
  /// Its name, unlike every other in the file.
  public let name: String
  /// The type of its elements, before encoding and after decoding.
  public let dtype: DType
  /// The lengths of its axes, C order; empty for a scalar.
  public let shape: [UInt64]
  /// The product of the shape.
  public let elementCount: UInt64
  /// What it is to the optimizer, as the writer was told.
  public let role: Role
  /// Why a tensor that was to be quantized is lossless.
  public let reason: FallbackReason
  /// How it is quantized, fallbacks taken; nil if it is lossless.
  public let scheme: Scheme?
  /// What encoding did, as the encoder recorded it; zero throughout for lossless tensors.
  public let statistics: TensorStatistics
  /// The largest |x − x̂| that the file admits, in units of the tensor; 0 if lossless, nil if nothing is guaranteed.
  public let guaranteedMaxAbsError: Double?
  /// Under `log` the largest |x − x̂| / x of non-zero elements, in the update domain the largest |m − m̂| / √v̂, that the
  /// file admits; nil for other schemes.
  public let guaranteedMaxRelError: Double?
  /// Bytes of the tensor as it was given and as it decodes.
  public let sourceBytes: UInt64
  /// Bytes of its chunks in the file.
  public let storedBytes: UInt64
  /// Bytes that values beside the codes take before the lossless stage; 0 for tensors without escapes.
  public let escapeBytes: UInt64
  /// Its chunks in the file's chunk table.
  public let chunks: ChunkPlaces
  /// The lossless stages that its chunks went through.
  public let compressions: Set<Compression>
  /// In the update domain the second moment, by its number.
  public let reference: Int?
  /// Its chunks that are the base's, and those that are stored as differences to the base's.
  public let baseChunks, differenceChunks: Int

  /// Bits stored for each element; 0 without elements.
  public var bitsPerValue: Double {
    withCodecEnvironment { elementCount == 0 ? 0 : Double(storedBytes) * 8 / Double(elementCount) }
  }
}

/// One chunk of a checkpoint.
public struct ChunkInfo: Sendable, Equatable {
  /// Where it stands in the file.
  public let offset: UInt64
  /// Bytes in the file.
  public let storedLength: Int
  /// Bytes before the lossless stage.
  public let rawLength: Int
  /// XXH3-64 of the stored bytes; of a chunk that is the base's, of its payload.
  public let hash: UInt64
  /// The lossless stage that it went through.
  public let compression: Compression
  /// What it holds.
  public let kind: ChunkKind
  /// The tensor that it belongs to.
  public let tensor: Int
  /// What the base has to do with it.
  public let relation: ChunkRelation
}
