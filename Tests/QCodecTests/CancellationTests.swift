import Synchronization
import Testing

@testable import QCodec

@Suite("Calls that are cancelled")
struct CancellationTests {
  private static let threadCounts = [1, 2, 8]

  @Test("What is covered by a cancellation that was asked for does nothing", arguments: threadCounts)
  func before(threads: Int) throws {
    let cancellation = Cancellation()
    #expect(!cancellation.isCancelled)
    cancellation.cancel()
    cancellation.cancel()
    #expect(cancellation.isCancelled)
    let done = Mutex(0)
    let error = thrown {
      try cancellation.cover { () throws(QCodecError) in
        try parallelFor(count: 10, threads: threads) { _ in done.withLock { $0 += 1 } }
      }
    }
    #expect(error?.code == .cancelled)
    #expect(done.withLock { $0 } == 0)
  }

  @Test("A loop stops after what is under way, on every thread", arguments: threadCounts)
  func loop(threads: Int) {
    let cancellation = Cancellation()
    let begun = Atomic<Int>(0)
    let error = thrown {
      try cancellation.cover { () throws(QCodecError) in
        try parallelFor(count: 1_000_000, threads: threads) { index in
          begun.add(1, ordering: .relaxed)
          if index == 100 { cancellation.cancel() }
        }
      }
    }
    #expect(error?.code == .cancelled)
    #expect(begun.load(ordering: .relaxed) < 1_000_000)
  }

  @Test("A pipeline stops before the next value", arguments: threadCounts)
  func pipeline(threads: Int) {
    let cancellation = Cancellation()
    var taken = 0
    let error = thrown {
      try cancellation.cover { () throws(QCodecError) in
        try orderedPipeline(count: 1_000_000, threads: threads) { index throws(QCodecError) in
          index
        } consume: { index throws(QCodecError) in
          taken += 1
          if index == 100 { cancellation.cancel() }
        }
      }
    }
    #expect(error?.code == .cancelled)
    #expect(taken == 101)
  }

  @Test("Workers are under the caller's cancellation, and nobody is afterwards", arguments: threadCounts)
  func inheritance(threads: Int) throws {
    let outer = Cancellation()
    let inner = Cancellation()
    #expect(Cancellation.current == nil)
    try outer.cover { () throws(QCodecError) in
      try parallelFor(count: 100, threads: threads) { _ throws(QCodecError) in
        #expect(Cancellation.current === outer)
        try inner.cover { () throws(QCodecError) in #expect(Cancellation.current === inner) }
      }
      #expect(Cancellation.current === outer)
    }
    #expect(Cancellation.current == nil)
    _ = thrown { try outer.cover { () throws(QCodecError) in throw QCodecError(.io, "") } }
    #expect(Cancellation.current == nil)
  }

  @Test("An error of a lower index comes first")
  func errorFirst() {
    let cancellation = Cancellation()
    let error = thrown {
      try cancellation.cover { () throws(QCodecError) in
        try parallelFor(count: 10, threads: 1) { _ throws(QCodecError) in
          cancellation.cancel()
          throw QCodecError(.io, "failed")
        }
      }
    }
    #expect(error == QCodecError(.io, "failed"))
  }

  @Test("Encoding and decoding in memory", arguments: threadCounts)
  func codec(threads: Int) throws {
    let scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .row)
    let codec = try TensorCodec(dtype: .f32, shape: [64, 8192], scheme: scheme)
    let values = moments(count: 64 * 8192, signed: true, seed: 5)
    let cancellation = Cancellation()
    let (stream, _) = try cancellation.cover { () throws(QCodecError) in try codec.encode(values, threads: threads) }
    let decoded = try cancellation.cover { () throws(QCodecError) in try codec.decode(stream, threads: threads) }
    #expect(try codec.decode(stream) == decoded)
    cancellation.cancel()
    #expect(
      thrown { _ = try cancellation.cover { () throws(QCodecError) in try codec.encode(values) } }?.code == .cancelled)
    #expect(
      thrown { _ = try cancellation.cover { () throws(QCodecError) in try codec.decode(stream) } }?.code == .cancelled)
  }

  private func thrown(_ body: () throws -> Void) -> QCodecError? {
    do { try body() } catch { return error as? QCodecError }
    return nil
  }
}
