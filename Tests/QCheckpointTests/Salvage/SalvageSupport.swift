import QCodec
import Testing

@testable import QCheckpoint

/// A good file and what is known of it.
struct SalvageFile {
  let bytes: [UInt8]
  let reader: CheckpointReader
  /// The tensors' bytes by name.
  let contents: [String: [UInt8]]

  init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    reader = try opened(bytes)
    var contents: [String: [UInt8]] = [:]
    for index in 0..<reader.tensorCount { contents[reader.tensor(index).name] = try reader.bytes(ofTensor: index) }
    self.contents = contents
  }

  /// The tensors that have chunks, in the order of the file.
  var tensors: [TensorInfo] {
    (0..<reader.tensorCount).map(reader.tensor).filter { !$0.chunks.isEmpty }
      .sorted { $0.chunks[0] < $1.chunks[0] }
  }

  /// Where the stored bytes of a chunk are.
  func range(ofChunk index: Int) -> Range<Int> {
    let chunk = reader.chunk(index)
    return Int(chunk.offset)..<Int(chunk.offset) + chunk.storedLength
  }

  /// The bytes between a chunk and what is before it.
  func lead(ofChunk index: Int) -> Range<Int> {
    (index == 0 ? Format.headerSize : range(ofChunk: index - 1).upperBound)..<range(ofChunk: index).lowerBound
  }

  /// Expects that the tensors that a salvage calls whole are these, and each what it was.
  func expectWhole(
    _ salvage: Salvage, _ names: [String], _ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let whole = salvage.tensors.filter(\.isWhole).map(\.name)
    #expect(whole == names, comment, sourceLocation: sourceLocation)
    try expectRight(salvage, comment, sourceLocation: sourceLocation)
  }

  /// Expects that whatever a salvage calls whole is what it was.
  func expectRight(
    _ salvage: Salvage, _ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let whole = salvage.tensors.filter(\.isWhole)
    #expect(salvage.reader.tensorCount == whole.count, comment, sourceLocation: sourceLocation)
    for tensor in whole {
      let index = try #require(salvage.reader.find(tensor.name), comment, sourceLocation: sourceLocation)
      let original = reader.tensor(try #require(reader.find(tensor.name), comment, sourceLocation: sourceLocation))
      let isSame = tensor.dtype == original.dtype && tensor.shape == original.shape
      #expect(isSame, comment, sourceLocation: sourceLocation)
      let bytes = try salvage.reader.bytes(ofTensor: index, threads: 1)
      #expect(bytes == contents[tensor.name], comment, sourceLocation: sourceLocation)
    }
  }
}

/// What can be read of a file in memory.
func salvaged(_ bytes: [UInt8]) throws(QCodecError) -> Salvage { try Salvage(source: MemorySource(bytes: bytes)) }
