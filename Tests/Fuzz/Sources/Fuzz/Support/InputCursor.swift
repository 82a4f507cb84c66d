/// Takes an input apart into small numbers; where it ends there are zeros.
struct InputCursor {
  private let bytes: [UInt8]
  private(set) var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { position >= bytes.count }

  mutating func byte() -> UInt8 {
    guard position < bytes.count else { return 0 }
    defer { position += 1 }
    return bytes[position]
  }

  mutating func number<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) -> Value {
    (0..<MemoryLayout<Value>.size).reduce(0) { $0 | Value(truncatingIfNeeded: byte()) << Value($1 * 8) }
  }

  /// Exactly `count` bytes: what is left, again and again.
  mutating func bytes(_ count: Int) -> [UInt8] {
    let rest = bytes[min(position, bytes.count)...]
    position += min(count, rest.count)
    if rest.count >= count { return Array(rest.prefix(count)) }
    guard !rest.isEmpty else { return [UInt8](repeating: 0, count: count) }
    var result: [UInt8] = []
    result.reserveCapacity(count + rest.count)
    while result.count < count { result += rest }
    return Array(result.prefix(count))
  }
}
