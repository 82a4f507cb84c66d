import CQCodecKernels
import Synchronization

/// The number of processors that the calling process may run on: its affinity mask, at least 1.
public func availableThreads() -> Int {
  max(1, Int(qcodec_available_processors()))
}

/// What the workers of one call share: the next index to take and the failure of the lowest index so far.
private final class Loop: Sendable {
  let count: Int
  let cancellation = Cancellation.current
  let body: @Sendable (Int) throws(QCodecError) -> Void
  let next = Atomic<Int>(0)
  let failure = Mutex<(index: Int, error: QCodecError)?>(nil)

  init(count: Int, body: @escaping @Sendable (Int) throws(QCodecError) -> Void) {
    self.count = count
    self.body = body
  }

  /// Takes indices until none is left or one failed. Indices are handed out in order, so all below a failing one have
  /// been taken by someone: the lowest failure is the same at every thread count.
  func work() {
    let saved = qcodec_environment_enter()
    defer { qcodec_environment_leave(saved) }
    while failure.withLock({ $0 == nil }) {
      let index = next.add(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      do throws(QCodecError) {
        try cancellation?.check()
        try body(index)
      } catch {
        failure.withLock { if index < $0?.index ?? .max { $0 = (index, error) } }
        return
      }
    }
  }
}

/// Calls `body` with every index in `0..<count` on up to `threads` threads, the caller's among them.
///
/// Threads live for the call alone. Throws the error of the lowest failing index, and `cancelled` where the caller's
/// `Cancellation` stops it.
package func parallelFor(
  count: Int, threads: Int, _ body: @escaping @Sendable (Int) throws(QCodecError) -> Void
) throws(QCodecError) {
  let loop = Loop(count: count, body: body)
  let workers = Workers(threads: threads, count: count) { loop.work() }
  loop.work()
  workers.join()
  if let failure = loop.failure.withLock({ $0 }) { throw failure.error }
}
