import QCodec
import Synchronization
import Testing

@testable import QCheckpoint

/// Bytes of which a read cancels what reads them.
private func cancelling(_ bytes: [UInt8], _ cancellation: Cancellation, atRead number: Int) -> CallbackSource {
  let reads = Mutex(0)
  return unsafe CallbackSource(byteCount: UInt64(bytes.count)) { offset, target throws(QCodecError) in
    let count = reads.withLock { reads in
      reads += 1
      return reads
    }
    if count == number { cancellation.cancel() }
    try unsafe MemorySource(bytes: bytes).read(at: offset, into: target)
  }
}

@Suite("Writers and readers that are cancelled")
struct CheckpointCancellationTests {
  private static let threadCounts = [1, 2, 8]
  private let folder: InputFolder
  private let options = WriterOptions(compression: .none, threads: 2)

  init() throws { folder = try InputFolder() }

  private func file(tensors: Int = 4) throws -> [UInt8] {
    try checkpoint { writer in
      for number in 0..<tensors {
        try writer.add("\(number)", bytes: [UInt8](repeating: UInt8(number), count: 3 << 20))
      }
    }
  }

  @Test("A writer that is cancelled midway is closed, and the previous file stays", arguments: [1, 2, 5, 16])
  func writing(read: Int) throws {
    _ = try folder.write([1, 2, 3], "c.qckpt")
    let writer = try CheckpointWriter(path: folder.path("c.qckpt"), options: options)
    let cancellation = Cancellation()
    let source = cancelling([UInt8](repeating: 91, count: 16 << 20), cancellation, atRead: read)
    let error = inputError {
      try cancellation.cover { () throws(QCodecError) in
        try writer.add(
          name: "t", dtype: .u8, shape: [16 << 20], encoding: .lossless(reason: .none), source: source)
      }
    }
    #expect(error?.code == .cancelled)
    #expect(error?.tensor == "t")
    #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
    #expect(try folder.names == ["c.qckpt"])
    #expect(try folder.read("c.qckpt") == [1, 2, 3])
  }

  @Test("So does one that is cancelled before it is complete")
  func finishing() throws {
    _ = try folder.write([1, 2, 3], "c.qckpt")
    let writer = try CheckpointWriter(path: folder.path("c.qckpt"), options: options)
    try writer.add("a", bytes: noise(100, seed: 92))
    let cancellation = Cancellation()
    cancellation.cancel()
    let error = inputError { _ = try cancellation.cover { () throws(QCodecError) in try writer.finish() } }
    #expect(error?.code == .cancelled)
    writer.abort()
    #expect(try folder.names == ["c.qckpt"])
    #expect(try folder.read("c.qckpt") == [1, 2, 3])
  }

  @Test("Opening, reading, checking and salvaging", arguments: threadCounts)
  func reading(threads: Int) throws {
    let bytes = try file()
    let whole = try opened(bytes).everything()
    func isCancelled(_ read: Int, _ body: (CheckpointReader) throws(QCodecError) -> Void) throws {
      let cancellation = Cancellation()
      // Opening reads thrice: header, trailer, directory.
      let reader = try CheckpointReader(source: cancelling(bytes, cancellation, atRead: 3 + read))
      #expect(
        inputError { try cancellation.cover { () throws(QCodecError) in try body(reader) } }?.code == .cancelled)
      // The reader is none the worse for it.
      #expect(try reader.everything() == whole)
    }
    try isCancelled(1) { reader throws(QCodecError) in _ = try reader.bytes(ofTensor: 0, threads: threads) }
    try isCancelled(2) { reader throws(QCodecError) in try reader.checkAllBytes(threads: threads) }
    try isCancelled(1) { reader throws(QCodecError) in try unsafe reader.stream([0, 1], threads: threads) { _ in } }
    for read in 1...8 {
      // What is looked for in damaged files is not lost because the search was to stop.
      try isCancelled(read) { reader throws(QCodecError) in _ = try Salvage(source: reader.source) }
      try isCancelled(read) { reader throws(QCodecError) in _ = try Recovery(source: reader.source, threads: threads) }
      try isCancelled(read) { reader throws(QCodecError) in _ = try reader.damage(threads: threads) }
    }
    try isCancelled(1) { reader throws(QCodecError) in _ = try reader.lostElements(ofTensor: 0, threads: threads) }
  }

  @Test("Files are not read at all")
  func files() throws {
    let path = try folder.write(file(), "c.qckpt")
    let reader = try CheckpointReader(path: path)
    let cancellation = Cancellation()
    try cancellation.cover { () throws(QCodecError) in
      _ = try reader.bytes(ofTensor: 0)
      cancellation.cancel()
    }
    func isCancelled(_ body: () throws(QCodecError) -> Void) {
      #expect(inputError { try cancellation.cover(body) }?.code == .cancelled)
    }
    isCancelled { () throws(QCodecError) in _ = try CheckpointReader(path: path) }
    isCancelled { () throws(QCodecError) in _ = try reader.payload(ofChunk: 0) }
    isCancelled { () throws(QCodecError) in _ = try reader.metadata() }
  }
}
