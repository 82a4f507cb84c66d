import QCheckpoint

/// The tensors of one role together.
public struct RoleFigures: Sendable {
  /// The role.
  public var role: Role
  /// Tensors of the role.
  public var tensors = 0
  /// Elements of all of them.
  public var elements: UInt64 = 0
  /// Bytes as they were given.
  public var sourceBytes: UInt64 = 0
  /// Bytes of their chunks in the file.
  public var storedBytes: UInt64 = 0

  /// A role without tensors.
  public init(role: Role) { self.role = role }

  /// Bits stored for each element; 0 without elements.
  public var bitsPerValue: Double { elements == 0 ? 0 : Double(storedBytes) * 8 / Double(elements) }

  mutating func take(_ tensor: TensorFigures) {
    tensors += 1
    elements += tensor.elements
    sourceBytes += tensor.sourceBytes
    storedBytes += tensor.storedBytes
  }
}
