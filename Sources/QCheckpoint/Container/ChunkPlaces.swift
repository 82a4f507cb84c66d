import QCodec

/// Where the chunks of one tensor stand in the file's chunk table: scales first, then codes or source bytes.
///
/// Chunks of a pair in the update domain alternate: each of the second moment's is followed by the first moment's.
public struct ChunkPlaces: RandomAccessCollection, Sendable {
  /// The number of scale chunks, which stand at `first` and behind it.
  public let scaleCount: Int
  private let first: Int
  private let dataFirst: Int
  private let stride: Int
  private let count64: Int

  init(first: Int, scaleCount: Int, dataFirst: Int, stride: Int, count: Int) {
    self.first = first
    self.scaleCount = scaleCount
    self.dataFirst = dataFirst
    self.stride = stride
    count64 = count
  }

  /// The first chunk's number within its tensor, 0.
  public var startIndex: Int { 0 }

  /// The number of chunks.
  public var endIndex: Int { count64 }

  /// The place in the chunk table of a chunk of the tensor.
  public subscript(index: Int) -> Int {
    index < scaleCount ? first + index : dataFirst + (index - scaleCount) * stride
  }

  /// The place in the chunk table of a chunk of codes or source bytes.
  public func data(_ index: Int) -> Int { self[scaleCount + index] }
}

extension Directory {
  /// The places of a tensor's chunks.
  func places(_ index: Int) -> ChunkPlaces {
    let stored = tensor(index)
    let scales = scaleChunkCount(index)
    let (first, count) = (Int(stored.firstChunk), Int(stored.chunkCount))
    var dataFirst = first + scales
    if let second = stored.reference, count > 0 {
      dataFirst = Int(tensor(second).firstChunk) + scaleChunkCount(second) + 1
    }
    return ChunkPlaces(
      first: first, scaleCount: scales, dataFirst: dataFirst, stride: Int(stored.stride), count: count)
  }

  private func scaleChunkCount(_ index: Int) -> Int {
    guard let scheme = scheme(index) else { return 0 }
    if let sizes = sizes(tensor(index), scheme) { return Int(sizes.scaleChunks) }
    // A salvaged scheme may be one that its shape resolves to another.
    return (try? plan(index).scaleChunks) ?? 0
  }
}
