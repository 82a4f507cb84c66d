#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Threads that run one function and are joined before the call that started them returns.
///
/// Nothing is left behind that a fork of the host could break. Where the system grants fewer threads, fewer run.
struct Workers {
  private var threads: [pthread_t] = []

  /// Starts threads beside the caller's, so that up to `threads` work on `count` things.
  ///
  /// What cancels the caller's calls cancels theirs.
  init(threads: Int, count: Int, _ work: @escaping @Sendable () -> Void) {
    let cancellation = Cancellation.current
    for _ in 1..<Self.usable(threads, count: count) {
      guard let thread = startWorker(Work { Cancellation.covering(cancellation, work) }) else { break }
      self.threads.append(thread)
    }
  }

  /// As many threads as there is work for, at least 1. Any number may be asked for; beyond a thousand threads only cost.
  static func usable(_ threads: Int, count: Int) -> Int { max(1, min(threads, count, 1024)) }

  /// Waits for all of them.
  func join() {
    for thread in threads { pthread_join(thread, nil) }
  }
}

private final class Work: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

private func startWorker(_ work: Work) -> pthread_t? {
  let retained = unsafe Unmanaged.passRetained(work)
  #if canImport(Darwin)
    var thread: pthread_t?
    let status = unsafe pthread_create(&thread, nil, { runWorker($0) }, retained.toOpaque())
  #else
    var thread = pthread_t()
    let status = unsafe pthread_create(&thread, nil, { unsafe runWorker($0) }, retained.toOpaque())
  #endif
  guard status == 0 else {
    unsafe retained.release()
    return nil
  }
  return thread
}

private func runWorker(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context = unsafe context { unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
  return nil
}
