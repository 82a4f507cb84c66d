import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Progress on standard error, only on a terminal and only for work over a second.
///
/// Whoever works adds to a count, from any thread. A thread of its own draws the line, ten times a second and as wide as
/// the terminal is by then, so that it goes on where the work waits for a disk.
final class Progress: Sendable {
  /// Whether lines are wanted at all; `--quiet` says no, before any work begins.
  static let isWanted = Atomic(true)

  /// When the first work of the command began: many short jobs make up a long one.
  private static let beginning = ContinuousClock.now

  private struct State {
    var isOver = false
    /// Seconds and counts of the last draws, at most `remembered`.
    var samples: [(seconds: Double, done: UInt64)] = [(0, 0)]
  }

  /// The rate is that of three seconds: long enough to be steady, short enough to follow a disk that slows down.
  private static let remembered = 30
  private static let interval: UInt32 = 100_000

  private let isShown: Bool
  private let unit: ProgressLine.Unit
  private let total: UInt64?
  private let start = ContinuousClock.now
  private let done = Atomic<UInt64>(0)
  private let state = Mutex(State())

  /// Begins; `finish` is to be called in any case. `total` is nil where nobody knows.
  init(total: UInt64?, unit: ProgressLine.Unit = .bytes) {
    (self.total, self.unit) = (total, unit)
    _ = Self.beginning
    isShown = Self.isWanted.load(ordering: .relaxed) && Terminal.showsProgress
    if isShown { startDrawing() }
  }

  /// Takes note of more work done.
  func advance(_ count: UInt64) { done.wrappingAdd(count, ordering: .relaxed) }

  /// Wipes the line; nothing is drawn from now on.
  func finish() {
    state.withLock { state in
      // The end is shown, if only for a moment, where it was reached.
      if isShown, !state.isOver, Self.isLong, done.load(ordering: .relaxed) == total { draw(&state) }
      state.isOver = true
      Terminal.wipeLine()
    }
  }

  private static var isLong: Bool { beginning.duration(to: .now) > .seconds(1) }

  /// Seconds since the start.
  var seconds: Double { start.duration(to: .now) / .seconds(1) }

  // MARK: Drawing

  private func draw(_ state: inout State) {
    let (now, count) = (seconds, done.load(ordering: .relaxed))
    if let first = state.samples.first {
      let rate = now > first.seconds ? Double(count - first.done) / (now - first.seconds) : 0
      let line = ProgressLine(unit: unit, done: count, total: total, rate: rate, elapsed: now)
      Terminal.drawLine { width in
        line.text(width: width, blocks: .preferred(), colored: Terminal.errorUsesColor)
      }
    }
    state.samples.append((now, count))
    if state.samples.count > Self.remembered { state.samples.removeFirst() }
  }

  /// Draws once; false when there is nothing more to draw.
  private func tick() -> Bool {
    state.withLock { state in
      if !state.isOver, Self.isLong { draw(&state) }
      return !state.isOver
    }
  }

  private func startDrawing() {
    // Signals are for the threads that work: some hold them back while a file is made.
    var (all, before) = (sigset_t(), sigset_t())
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    let retained = unsafe Unmanaged.passRetained(self)
    #if canImport(Darwin)
      var thread: pthread_t?
      let status = unsafe pthread_create(&thread, nil, { Progress.run($0) }, retained.toOpaque())
    #else
      var thread = pthread_t()
      let status = unsafe pthread_create(&thread, nil, { unsafe Progress.run($0) }, retained.toOpaque())
    #endif
    // Where there is no thread to be had, there is no line.
    guard status == 0 else { return unsafe retained.release() }
    #if canImport(Darwin)
      if let thread { pthread_detach(thread) }
    #else
      pthread_detach(thread)
    #endif
  }

  private static func run(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context = unsafe context else { return nil }
    let progress = unsafe Unmanaged<Progress>.fromOpaque(context).takeRetainedValue()
    repeat { usleep(interval) } while progress.tick()
    return nil
  }
}
