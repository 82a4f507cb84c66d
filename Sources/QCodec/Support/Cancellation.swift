import CQCodecKernels
import Synchronization

/// Stops calls of qcodec that are under way, from any other thread.
///
/// Everything that is called within `cover` stops soon after `cancel`, wherever it is between two chunks, reads or writes:
/// encoding, decoding, reading, writing, verifying. It then throws `cancelled`; buffers may be partly filled, a writer is
/// given up and a previous file stays.
///
/// ```swift
/// let cancellation = Cancellation()
/// // Elsewhere, a button for instance: cancellation.cancel()
/// let bytes = try cancellation.cover { () throws(QCodecError) in try reader.bytes(ofTensor: 0) }
/// ```
///
/// In a task, `withTaskCancellationHandler(operation:onCancel:)` is the place to call `cancel`.
public final class Cancellation: Sendable {
  private let flag = Atomic<Bool>(false)

  /// A cancellation that was not asked for yet; once it was, it stays so.
  public init() {}

  /// Stops what it covers, and what it will cover. O(1), without a lock: to be called from any thread, signal handlers
  /// included.
  public func cancel() { flag.store(true, ordering: .relaxed) }

  /// Whether `cancel` was called.
  public var isCancelled: Bool { flag.load(ordering: .relaxed) }

  /// Throws `cancelled` if `cancel` was called.
  public func check() throws(QCodecError) {
    if isCancelled { throw QCodecError(.cancelled, "the call was cancelled") }
  }

  /// Runs `body`, whose calls of qcodec can be cancelled; throws `cancelled` besides what it throws. Within another
  /// cancellation's `cover` the inner one alone counts.
  public func cover<Result>(_ body: () throws(QCodecError) -> Result) throws(QCodecError) -> Result {
    try Self.covering(self) { () throws(QCodecError) in
      try check()
      return try body()
    }
  }
}

extension Cancellation {
  /// What cancels the calling thread's calls.
  package static var current: Cancellation? {
    guard let object = unsafe qcodec_thread_cancellation() else { return nil }
    // Safe: whoever put it there keeps it until it is taken away.
    return unsafe Unmanaged<Cancellation>.fromOpaque(object).takeUnretainedValue()
  }

  /// Throws `cancelled` if the calling thread's calls are to stop. A load of a thread's variable where nothing covers them.
  package static func check() throws(QCodecError) { try current?.check() }

  /// Puts the calling thread's calls under a cancellation, or none, until this is called again: for callers whose scopes are
  /// not Swift's. It is kept for that long.
  package static func use(_ cancellation: Cancellation?) {
    let object = unsafe cancellation.map { unsafe UnsafeRawPointer(Unmanaged.passRetained($0).toOpaque()) }
    guard let before = unsafe qcodec_set_thread_cancellation(object) else { return }
    unsafe Unmanaged<Cancellation>.fromOpaque(before).release()
  }

  /// Runs `body` with another cancellation, or none.
  static func covering<Result, Failure: Error>(
    _ cancellation: Cancellation?, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let before = unsafe qcodec_set_thread_cancellation(
      cancellation.map { unsafe UnsafeRawPointer(Unmanaged.passUnretained($0).toOpaque()) })
    defer { unsafe _ = qcodec_set_thread_cancellation(before) }
    return try withExtendedLifetime(cancellation, body)
  }
}
