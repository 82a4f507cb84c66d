import QCodec
import Synchronization

/// The value made for the key that was asked for last; tensors are read one after the other, in pieces.
final class LastUsed<Value: Sendable>: Sendable {
  private let held = Mutex<(key: Int, value: Value)?>(nil)

  /// The value of `key`, made now unless it is the one held; others wait meanwhile.
  func value(for key: Int, make: () throws(QCodecError) -> Value) throws(QCodecError) -> Value {
    try held.withLock { held throws(QCodecError) in
      if let held, held.key == key { return held.value }
      // The one before is given up first, so that never two are in memory.
      held = nil
      let value = try make()
      held = (key, value)
      return value
    }
  }
}

/// Part of another source.
struct SourceSlice: TensorSource {
  let source: any TensorSource
  let offset: UInt64
  let byteCount: UInt64

  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    try unsafe source.read(at: self.offset + offset, into: target)
  }
}
