import QCodec

/// A first moment and its second moment.
public struct PairFigures: Sendable {
  /// The first moment's name.
  public var first: String
  /// The second moment's name.
  public var second: String
  /// Elements of either.
  public var parameters: UInt64
  /// Bytes of both in the file.
  public var storedBytes: UInt64
  /// What coding did to the update; nil where it was not measured.
  public var error: UpdateError?

  /// Bits that both take for each parameter; 0 without elements.
  public var bitsPerParameter: Double { parameters == 0 ? 0 : Double(storedBytes) * 8 / Double(parameters) }
}
