import CQCodecKernels
import Synchronization
import Testing

@testable import QCodec

@Suite("Values made on several threads and taken in order")
struct OrderedPipelineTests {
  private static let threadCounts = [1, 2, 3, 8, .max]

  @Test("All values, in order, at every thread count", arguments: threadCounts)
  func order(threads: Int) throws {
    for count in [0, 1, 2, 5, 1000] {
      var taken: [Int] = []
      try orderedPipeline(count: count, threads: threads) { index throws(QCodecError) in
        index * 3
      } consume: { value throws(QCodecError) in
        taken.append(value)
      }
      #expect(taken == (0..<count).map { $0 * 3 })
    }
  }

  @Test("Never more than two values a thread under way or waiting", arguments: [1, 2, 5])
  func bound(threads: Int) throws {
    let open = Mutex((now: 0, most: 0))
    try orderedPipeline(count: 300, threads: threads) { index throws(QCodecError) in
      open.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
      return index
    } consume: { _ throws(QCodecError) in
      open.withLock { $0.now -= 1 }
    }
    #expect(open.withLock(\.now) == 0)
    #expect(open.withLock(\.most) <= 2 * threads)
  }

  @Test("The lowest failure is thrown, after all below it were taken", arguments: threadCounts)
  func failure(threads: Int) {
    for _ in 0..<20 {
      var taken: [Int] = []
      let error = thrown {
        try orderedPipeline(count: 100, threads: threads) { index throws(QCodecError) in
          guard index % 10 != 7 else { throw QCodecError(.io, "\(index)") }
          return index
        } consume: { value throws(QCodecError) in
          taken.append(value)
        }
      }
      #expect(error?.message == "7")
      #expect(taken == Array(0..<7))
    }
  }

  @Test("What the consumer throws ends it, and nothing is begun after", arguments: threadCounts)
  func refusal(threads: Int) {
    let begun = Mutex(0)
    let error = thrown {
      try orderedPipeline(count: 1_000_000, threads: threads) { index throws(QCodecError) in
        begun.withLock { $0 += 1 }
        return index
      } consume: { value throws(QCodecError) in
        if value == 3 { throw QCodecError(.io, "full") }
      }
    }
    #expect(error?.message == "full")
    #expect(begun.withLock(\.self) <= 4 + 2 * 1024)
  }

  @Test("Values are made in the codec's floating-point environment")
  func environment() throws {
    let codec = withCodecEnvironment { qcodec_environment_current() }
    let saved = qcodec_environment_enter()
    defer { qcodec_environment_leave(saved) }
    qcodec_environment_simulate(1)
    for threads in [1, 3] {
      var found: Set<UInt64> = []
      try orderedPipeline(count: 20, threads: threads) { _ throws(QCodecError) in
        qcodec_environment_current()
      } consume: { value throws(QCodecError) in
        found.insert(value)
      }
      #expect(found == [codec])
    }
  }

  private func thrown(_ body: () throws -> Void) -> QCodecError? {
    do { try body() } catch { return error as? QCodecError }
    return nil
  }
}
