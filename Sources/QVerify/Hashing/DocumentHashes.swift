import QCheckpoint
import QCodec

/// The hashes of a document's tensors, as Spec/Hashes.md defines them.
public struct DocumentHashes: Sendable, Equatable {
  /// One tensor's hashes.
  public struct Tensor: Sendable, Equatable {
    /// Its name, which no hash depends on.
    public let name: String
    /// The type of its elements.
    public let dtype: DType
    /// The lengths of its axes, C order.
    public let shape: [UInt64]
    /// Of dtype, shape and decoded values: equal however and wherever equal tensors are stored.
    public let values: Hash128
    /// Of the chunks as they lie in the checkpoint; nil for other formats, and where it was not asked for.
    public let stored: Hash128?
  }

  /// The tensors in the order of their names' bytes.
  public let tensors: [Tensor]

  /// Of all names with their tensors' `values`.
  public var values: Hash128 { Self.combined(tensors.map { ($0.name, $0.values) }) }

  /// Of all names with their tensors' `stored`; nil where any tensor has none.
  public var stored: Hash128? {
    let hashes = tensors.compactMap { tensor in tensor.stored.map { (tensor.name, $0) } }
    return hashes.count == tensors.count && hasStored ? Self.combined(hashes) : nil
  }

  /// Whether the stored bytes were hashed, if there are any.
  private let hasStored: Bool

  init(tensors: [Tensor], hasStored: Bool) { (self.tensors, self.hasStored) = (tensors, hasStored) }

  private static func combined(_ hashes: [(name: String, hash: Hash128)]) -> Hash128 {
    let state = StreamingHash128()
    for (name, hash) in hashes {
      let bytes = Array(name.utf8)
      // The length first, so that no two lists of names run into the same bytes.
      let length = (0..<8).map { UInt8(truncatingIfNeeded: UInt64(bytes.count) >> (8 * UInt64($0))) }
      state.append(hash.bytes + length + bytes)
    }
    return state.value
  }
}
