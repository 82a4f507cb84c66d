import Foundation
import QCheckpoint
import QCodec
import Synchronization
import Testing

@Suite("Equal input and options give equal bytes")
struct DeterminismTests {
  private static let values = momentValues(600_000, signed: true, seed: 51)
  private static let lossless = momentBytes(Array(values.prefix(400_000)), dtype: .f32) + noise(1 << 20, seed: 52)

  private func fill(_ writer: CheckpointWriter) throws {
    let values = Self.values
    try writer.add(
      "stochastic", values, shape: [600, 1000],
      Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256), rounding: .stochastic, seed: 5))
    try writer.add(
      "rank1", values.map(\.magnitude), shape: [600, 10, 100],
      Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
    try writer.add(
      name: "column", dtype: .bf16, shape: [600, 1000],
      encoding: .quantized(Scheme(map: .linear, bits: 8, signed: true, scaling: .column)),
      source: MemorySource(bytes: momentBytes(values, dtype: .bf16)))
    try writer.add("lossless", bytes: Self.lossless)
    try writer.setMetadata(.object(["z": .integer(1), "a": .integer(2), "m": .number(0.1)]))
  }

  @Test("Over 1, 2 and 7 threads, on repeated runs", arguments: Compression.allCases)
  func threads(compression: Compression) throws {
    let expected = try checkpoint(.init(compression: compression, threads: 1), fill)
    let whole = try opened(expected).everything()
    #expect(try opened(expected).chunkCount >= 12)
    for threads in [1, 2, 7] {
      let file = try checkpoint(.init(compression: compression, threads: threads), fill)
      #expect(file == expected, "\(threads) threads")
      let reader = try opened(expected)
      try reader.checkAllBytes(threads: threads)
      #expect(try reader.everything(threads: threads) == whole, "\(threads) threads")
    }
  }

  @Test("What cannot be read ends at the same chunk over every number of threads")
  func errors() throws {
    let file = try checkpoint(.init(compression: .none, threads: 2), fill)
    let reader = try opened(file)
    let lossless = try #require(reader.find("lossless"))
    var damaged = file
    for chunk in reader.tensor(lossless).chunks.dropFirst() { damaged[Int(reader.chunk(chunk).offset)] ^= 1 }
    let first = reader.chunk(reader.tensor(lossless).chunks[1]).offset
    for threads in [1, 2, 7] {
      for _ in 0..<5 {
        let bad = try opened(damaged)
        #expect(inputError { _ = try bad.bytes(ofTensor: lossless, threads: threads) }?.offset == first)
        #expect(inputError { try bad.checkAllBytes(threads: threads) }?.offset == first)
      }
    }
  }

  @Test("A pipe gets the bytes that a file gets")
  func pipe() throws {
    let expected = try checkpoint(.init(compression: .lz4, threads: 2), fill)
    let (pipe, received) = (Pipe(), received())
    received.start(pipe)
    let writer = try CheckpointWriter(
      descriptor: pipe.fileHandleForWriting.fileDescriptor, options: .init(compression: .lz4, threads: 2))
    try fill(writer)
    let summary = try writer.finish()
    // The descriptor stays the caller's: it can still be written to.
    try pipe.fileHandleForWriting.write(contentsOf: Data([42]))
    try pipe.fileHandleForWriting.close()
    let bytes = received.wait()
    #expect(bytes == expected + [42])
    #expect(summary.fileBytes == UInt64(expected.count))
  }

  @Test("A pipe whose checkpoint is given up ends without trailer")
  func abortedPipe() throws {
    let (pipe, received) = (Pipe(), received())
    received.start(pipe)
    let writer = try CheckpointWriter(
      descriptor: pipe.fileHandleForWriting.fileDescriptor, options: .init(compression: .none, threads: 1))
    try writer.add("lossless", bytes: Self.lossless)
    let error = inputError {
      try writer.add("bad", [1, .nan], Scheme(map: .linear, bits: 8, signed: true, scaling: .block(32)))
    }
    #expect(error?.code == .nonFiniteValue)
    #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
    try pipe.fileHandleForWriting.close()
    let bytes = received.wait()
    #expect(inputError { _ = try opened(bytes) }?.code == .truncated)
  }

  @Test("A summary counts what was written")
  func summary() throws {
    let folder = try InputFolder()
    let writer = try CheckpointWriter(path: folder.path("c"), options: .init(compression: .zstd, threads: 2))
    try fill(writer)
    let summary = try writer.finish()
    let reader = try CheckpointReader(path: folder.path("c"))
    let tensors = (0..<reader.tensorCount).map(reader.tensor)
    #expect(summary.tensors == 4)
    #expect(summary.fileBytes == UInt64(try folder.read("c").count))
    #expect(summary.storedBytes == tensors.reduce(0) { $0 + $1.storedBytes })
    #expect(summary.sourceBytes == tensors.reduce(0) { $0 + $1.sourceBytes })
    #expect(summary.elements == tensors.reduce(0) { $0 + $1.elementCount })
  }

  private func received() -> Received { Received() }
}

/// What comes out of a pipe, read by a thread of its own.
private final class Received: Sendable {
  private let bytes = Mutex<[UInt8]>([])
  private let done = DispatchSemaphore(value: 0)

  func start(_ pipe: Pipe) {
    let handle = pipe.fileHandleForReading
    DispatchQueue.global().async { [self] in
      let data = (try? handle.readToEnd()) ?? Data()
      bytes.withLock { $0 = [UInt8](data) }
      done.signal()
    }
  }

  func wait() -> [UInt8] {
    done.wait()
    return bytes.withLock { $0 }
  }
}
