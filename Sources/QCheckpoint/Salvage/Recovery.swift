import QCodec

/// All that a damaged checkpoint still gives.
///
/// Where trailer and directory are sound, whatever stands before them, they tell what the file held, and chunks that are not
/// at their places are looked for by their checksums. Else what stands before each chunk is all there is: `Salvage`.
public struct Recovery: Sendable {
  /// One tensor of the file.
  public struct Tensor: Sendable {
    /// Its name, by which it was found.
    public let name: String
    /// The type of its elements.
    public let dtype: DType
    /// The lengths of its axes, C order.
    public let shape: [UInt64]
    /// Its number in `reader`, by which the elements that are left can be read; nil where the directory is lost and the
    /// tensor not whole.
    public let number: Int?
    /// The elements, in C order, that are lost; none for a whole tensor.
    public let lost: [Range<UInt64>]

    /// The indices of the first axis of which an element is lost; none for a scalar.
    public var lostRows: [Range<UInt64>] { TensorRows.holding(lost, shape: shape) }
    /// Whether every element can be read.
    public var isWhole: Bool { lost.isEmpty }
  }

  /// A reader of what is left.
  public let reader: CheckpointReader
  /// By the directory all tensors in the order of their names; without it those found, in that of the file.
  public let tensors: [Tensor]
  /// Whether the directory is lost, and with it metadata, roles, statistics and tensors without elements.
  public let isDirectoryLost: Bool
  /// The metadata; nil where they are lost.
  public let metadata: JSONValue?
  /// Chunks that were not at their places and were found elsewhere.
  public let movedChunks: Int

  /// Looks a file over, every element of the tensors that are wanted; O(bytes).
  ///
  /// - Parameter isWanted: whether a tensor of a name is; the others are not listed.
  ///
  /// Throws as opening does for a file of another kind, version or with unknown features, for a directory that is wrong
  /// under a right checksum, where nothing at all is found, and `cancelled`.
  public init(
    source: any TensorSource, threads: Int = availableThreads(), isWanted: (String) -> Bool = { _ in true }
  ) throws(QCodecError) {
    try self.init(source: source, file: nil, threads: threads, isWanted)
  }

  /// Looks an open file over; throws as `init(source:threads:isWanted:)`.
  ///
  /// - Parameter progress: called with the bytes of every read of the file, from any thread; some are read twice.
  public init(
    file: InputFile, threads: Int = availableThreads(), progress: @escaping @Sendable (UInt64) -> Void = { _ in },
    isWanted: (String) -> Bool = { _ in true }
  ) throws(QCodecError) {
    let source = FileRangeSource(file: file, offset: 0, byteCount: file.byteCount)
    try self.init(source: MeteredSource(source: source, meter: progress), file: file, threads: threads, isWanted)
  }

  private init(
    source: any TensorSource, file: InputFile?, threads: Int, _ isWanted: (String) -> Bool
  ) throws(QCodecError) {
    if let sound = try Self.byDirectory(source, file) {
      let (reader, moved) = try sound.findingMovedChunks(threads: threads)
      self.reader = reader
      movedChunks = moved
      isDirectoryLost = false
      metadata = try? reader.metadata()
      var found: [Tensor] = []
      for number in 0..<reader.tensorCount where isWanted(reader.tensor(number).name) {
        found.append(try Self.tensor(number, of: reader, threads: threads))
      }
      tensors = found
      // What was not read because the search was to stop is not lost.
      try Cancellation.check()
      return
    }
    let salvage = try Salvage(source: source, file: file, passesOverHeader: true)
    let reader = salvage.reader
    self.reader = reader
    movedChunks = 0
    isDirectoryLost = true
    metadata = nil
    // The reader has the whole ones in the order of their names; a damaged file may hold a piece of itself twice.
    // Names are keys by their bytes: those that differ only in Unicode normalisation are names of different tensors.
    var numbers: [[UInt8]: Int] = [:]
    for number in 0..<reader.tensorCount {
      let key = Array(reader.tensor(number).name.utf8)
      if numbers[key] == nil { numbers[key] = number }
    }
    var found: [Tensor] = []
    for tensor in salvage.tensors where isWanted(tensor.name) {
      let key = Array(tensor.name.utf8)
      if tensor.isWhole, let number = numbers[key] {
        numbers[key] = nil
        found.append(try Self.tensor(number, of: reader, threads: threads))
      } else if numbers[key] == nil {
        // Of a name that is there whole as well nothing is lost.
        found.append(
          Tensor(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, number: nil, lost: tensor.lost))
      }
    }
    tensors = found
    try Cancellation.check()
  }

  private static func tensor(
    _ number: Int, of reader: CheckpointReader, threads: Int
  ) throws(QCodecError) -> Tensor {
    let info = reader.tensor(number)
    return Tensor(
      name: info.name, dtype: info.dtype, shape: info.shape, number: number,
      lost: try reader.lostElements(ofTensor: number, threads: threads))
  }

  /// A reader by the file's own directory; nil where that is lost.
  private static func byDirectory(_ source: any TensorSource, _ file: InputFile?) throws(QCodecError)
    -> CheckpointReader?
  {
    do throws(QCodecError) { return try CheckpointReader(source: source, file: file, verifyChecksums: true) } catch {
      switch error.code {
      case .truncated, .headerCorrupt, .trailerCorrupt, .directoryCorrupt, .notACheckpoint:
        if let reader = CheckpointReader(byTrailerOf: source, file: file) { return reader }
        let start = try source.bytes(at: 0, count: Int(min(source.byteCount, 256)))
        // What is clearly something else, at both ends, is not searched for tensors.
        let isForeign = start.isEmpty || ForeignFile.identify(start) != nil
        if error.code == .notACheckpoint, isForeign, !endsLikeOne(source) { throw error }
        if error.code == .truncated, source.byteCount < UInt64(Format.headerSize) { throw error }
        return nil
      default: throw error
      }
    }
  }

  /// Whether a file ends with the magic number of a trailer.
  private static func endsLikeOne(_ source: any TensorSource) -> Bool {
    let size = UInt64(Format.trailerSize)
    guard source.byteCount >= size,
      let end = try? source.bytes(at: source.byteCount - size, count: Format.trailerSize)
    else { return false }
    return end[80..<88].elementsEqual(Format.endMagic)
  }
}
