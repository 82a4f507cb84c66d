/// Makes values on several threads and takes them, in order, on the caller's.
///
/// The caller makes values too while the next in order is not there. At most two values a thread are under way or
/// waiting to be taken, so that memory is bounded whatever `count` is. Values are begun in order of their index: the error thrown
/// is that of the lowest failing index, at every thread count, and `consume` has then been called for all below it. The
/// caller's `Cancellation` stops it before the next value.
package func orderedPipeline<Value: Sendable>(
  count: Int, threads: Int, produce: @escaping @Sendable (Int) throws(QCodecError) -> Value,
  consume: (Value) throws(QCodecError) -> Void
) throws(QCodecError) {
  guard Workers.usable(threads, count: count) > 1 else {
    for index in 0..<count {
      try Cancellation.check()
      try consume(withCodecEnvironment { () throws(QCodecError) in try produce(index) })
    }
    return
  }
  let pipeline = Pipeline(count: count, window: 2 * Workers.usable(threads, count: count), produce: produce)
  let workers = Workers(threads: threads, count: count) { pipeline.work() }
  defer {
    pipeline.stop()
    workers.join()
  }
  for index in 0..<count {
    try Cancellation.check()
    try consume(pipeline.value(index).get())
    pipeline.consumed(index)
  }
}

/// What the threads of one pipeline share.
private final class Pipeline<Value: Sendable>: Sendable {
  private struct State {
    /// The next index to begin, and the first that is not to be begun.
    var next = 0
    var limit: Int
    var consumed = 0
    /// The value of index i in place i mod window.
    var values: [Result<Value, QCodecError>?]

    /// Takes an index to make, unless the window is full or nothing is left.
    mutating func take(window: Int) -> Int? {
      guard next < limit, next < consumed + window else { return nil }
      next += 1
      return next - 1
    }
  }

  private enum Step {
    case value(Result<Value, QCodecError>)
    case make(Int)
    case end
  }

  private let window: Int
  private let produce: @Sendable (Int) throws(QCodecError) -> Value
  private let state: Monitor<State>

  init(count: Int, window: Int, produce: @escaping @Sendable (Int) throws(QCodecError) -> Value) {
    self.window = window
    self.produce = produce
    state = Monitor(State(limit: count, values: Array(repeating: nil, count: window)))
  }

  /// Makes values until none is left to begin.
  func work() {
    while true {
      let step = state.wait { state -> Step? in
        state.take(window: self.window).map { .make($0) } ?? (state.next < state.limit ? nil : .end)
      }
      guard case .make(let index) = step else { return }
      make(index)
    }
  }

  private func make(_ index: Int) {
    let result = withCodecEnvironment { () -> Result<Value, QCodecError> in
      do throws(QCodecError) { return .success(try produce(index)) } catch { return .failure(error) }
    }
    state.update { state in
      state.values[index % self.window] = result
      // Nothing after a failure is taken: no use in beginning it.
      if case .failure = result { state.limit = min(state.limit, index) }
    }
  }

  /// The value of an index, all before which were consumed.
  func value(_ index: Int) -> Result<Value, QCodecError> {
    while true {
      let step = state.wait { state -> Step? in
        if let value = state.values[index % self.window].take() { return .value(value) }
        return state.take(window: self.window).map { .make($0) }
      }
      switch step {
      case .value(let value): return value
      case .make(let index): make(index)
      case .end: preconditionFailure("only workers end before the last value")
      }
    }
  }

  func consumed(_ index: Int) { state.update { $0.consumed = index + 1 } }

  func stop() { state.update { $0.limit = 0 } }
}
