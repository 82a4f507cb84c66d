import QCheckpoint
import QCodec
import Testing

@Suite("Checkpoints whose bytes a function takes")
struct FunctionWriterTests {
  private static func fill(_ writer: CheckpointWriter) throws {
    let values = momentValues(2 * 262_144 + 77, signed: true, seed: 8)
    try writer.add("q", values, Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
    try writer.add("large", bytes: noise(3 << 20, seed: 1))
    try writer.add("small", bytes: [1, 2, 3])
    try writer.setMetadata(.object(["k": .string("v")]))
  }

  @Test("The bytes of a file, in order", arguments: Compression.allCases)
  func sameBytes(compression: Compression) throws {
    let options = WriterOptions(compression: compression, threads: 2)
    var taken: [UInt8] = []
    let writer = try unsafe CheckpointWriter(
      writing: { bytes throws(QCodecError) in unsafe taken.append(contentsOf: bytes) }, options: options)
    try Self.fill(writer)
    let summary = try writer.finish()
    #expect(taken == (try checkpoint(options) { try Self.fill($0) }))
    #expect(summary.fileBytes == UInt64(taken.count) && writer.temporaryPath == nil)
    #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
    #expect(inputError { try writer.add("late", bytes: [1]) }?.code == .writerClosed)
  }

  @Test("What the function throws ends the checkpoint, and it is not called again", arguments: [0, 1, 2])
  func failure(calls: Int) throws {
    var count = 0
    let failure = QCodecError(.io, "the socket is gone", offset: 7)
    let writer = try unsafe CheckpointWriter(writing: { _ throws(QCodecError) in
      count += 1
      if count > calls { throw failure }
    })
    let error = inputError {
      try Self.fill(writer)
      _ = try writer.finish()
    }
    #expect(error?.code == .io && error?.message == failure.message)
    #expect(count == calls + 1)
    #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
    writer.abort()
    #expect(count == calls + 1)
  }

  @Test("What is aborted lacks its trailer, and the function is let go")
  func aborted() throws {
    final class Sink {
      var bytes: [UInt8] = []
    }
    var sink: Sink? = Sink()
    weak let watched = sink
    let writer = try unsafe CheckpointWriter(
      writing: { [sink] bytes throws(QCodecError) in unsafe sink?.bytes.append(contentsOf: bytes) })
    try Self.fill(writer)
    writer.abort()
    let bytes = try #require(sink).bytes
    #expect(!bytes.isEmpty && inputError { _ = try opened(bytes) } != nil)
    sink = nil
    #expect(watched == nil)
  }
}
