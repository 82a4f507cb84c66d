import QCodec

/// What a chunk is to its tensor: which one of it, and the elements that cannot be read without it.
public struct ChunkLocation: Sendable, Equatable {
  /// The tensor, by its number.
  public let tensor: Int
  /// The chunk's number within its tensor, from 0, scale chunks first.
  public let chunk: Int
  /// The chunks that the tensor has.
  public let count: Int
  /// What it holds.
  public let kind: ChunkKind
  /// The elements, in C order, that need it: those that it holds, or all where it holds scales.
  public let elements: Range<UInt64>
  /// The indices of the first axis of which an element needs it; nil for a scalar.
  public let rows: Range<UInt64>?
}

extension ChunkLocation: CustomStringConvertible {
  /// In words, both ends included: `chunk 1 of 0-2 holds elements 262144-524287, rows 256-511`.
  public var description: String {
    let what =
      switch kind {
      case .scales: "holds scales of all \(elements.count) elements"
      case .codes, .lossless: "holds elements \(elements.lowerBound)-\(elements.upperBound - 1)"
      }
    let rows = rows.map { ", rows \($0.lowerBound)-\($0.upperBound - 1)" } ?? ""
    return "chunk \(chunk) of 0-\(count - 1) \(what)\(rows)"
  }
}

/// Rows of a tensor: what the first axis counts.
public enum TensorRows {
  /// The indices of the first axis of which an element lies in a range; nil for a scalar and without elements.
  ///
  /// `elements` lie within the shape, whose product fits 64 bits.
  public static func holding(_ elements: Range<UInt64>, shape: [UInt64]) -> Range<UInt64>? {
    guard !shape.isEmpty, !elements.isEmpty else { return nil }
    let width = shape.dropFirst().reduce(1, *)
    return elements.lowerBound / width..<(elements.upperBound - 1) / width + 1
  }

  /// The rows of several ranges of elements, which ascend; neighbours joined.
  public static func holding(_ elements: [Range<UInt64>], shape: [UInt64]) -> [Range<UInt64>] {
    joined(elements.compactMap { holding($0, shape: shape) })
  }

  /// Ranges in ascending order with those that touch or overlap joined.
  static func joined(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = result.last, last.upperBound >= range.lowerBound {
        result[result.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        result.append(range)
      }
    }
    return result
  }
}

extension CheckpointReader {
  /// What a chunk is to its tensor, by its place in the file's chunk table.
  public func location(ofChunk index: Int) -> ChunkLocation {
    let tensor = Int(directory.chunk(index).tensor)
    let (record, places) = (directory.record(tensor), directory.places(tensor))
    let chunk = numberInTensor(ofChunk: index, places: places, stride: Int(record.stride))
    let isScales = chunk < places.scaleCount
    let elements =
      isScales
      ? 0..<record.elementCount
      : TensorContents.elements(
        ofDataChunk: chunk - places.scaleCount, dtype: record.dtype, isQuantized: record.scheme != nil,
        count: record.elementCount)
    return ChunkLocation(
      tensor: tensor, chunk: chunk, count: places.count, kind: directory.chunk(index).kind, elements: elements,
      rows: TensorRows.holding(elements, shape: directory.shape(tensor)))
  }

  /// A chunk's number within its tensor; places ascend with it.
  func numberInTensor(ofChunk index: Int, places: ChunkPlaces, stride: Int) -> Int {
    index < places.data(0) ? index - places[0] : places.scaleCount + (index - places.data(0)) / stride
  }
}

extension TensorContents {
  /// The elements of a chunk of codes or source bytes, those that lie across its ends included.
  static func elements(
    ofDataChunk index: Int, dtype: DType, isQuantized: Bool, count: UInt64
  ) -> Range<UInt64> {
    if isQuantized {
      let start = UInt64(index) * UInt64(TensorLayout.chunkElements)
      return start..<min(start + UInt64(TensorLayout.chunkElements), count)
    }
    let width = UInt64(dtype.bitWidth)
    let start = UInt64(index) * UInt64(Format.losslessChunk)
    let (end, bytes) = (start + UInt64(Format.losslessChunk), count * width / 8)
    return start * 8 / width..<(end < bytes ? (end * 8 + width - 1) / width : count)
  }
}
