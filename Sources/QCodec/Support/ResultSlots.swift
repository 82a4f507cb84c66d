import Synchronization

/// Results of a parallel loop, each written once under its index and read in order afterwards.
package final class ResultSlots<Value: Sendable>: Sendable {
  private let slots: Mutex<[Value?]>

  package init(count: Int) {
    slots = Mutex(Array(repeating: nil, count: count))
  }

  package subscript(index: Int) -> Value? {
    get { slots.withLock { $0[index] } }
    set { slots.withLock { $0[index] = newValue } }
  }

  /// The results present, in index order.
  package var inOrder: [Value] { slots.withLock { $0.compactMap { $0 } } }
}
