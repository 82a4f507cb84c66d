import QCheckpoint
import QCodec
import QVerify

/// Everything that a report shows of one checkpoint: figures, no bytes of it.
///
/// Memory: some 300 bytes and the name for each tensor.
public struct CheckpointFigures: Sendable {
  /// What the file is called on the page.
  public var name: String
  /// Bytes of the file.
  public var fileBytes: UInt64
  /// The format's version as the file states it.
  public var formatVersion: (major: UInt16, minor: UInt16)
  /// The name of the policy that chose the schemes, where it is recorded.
  public var policy: String?
  /// What the user says of the file, by key; texts as they are, all else as JSON.
  public var metadata: [(key: String, value: String)] = []
  /// How verifying the file ended.
  public var verdict: Verdict
  /// The tensors in the order of the file.
  public var tensors: [TensorFigures]
  /// Pairs of moments in the order of the file.
  public var pairs: [PairFigures]
  /// ε of the updates; nil where none was measured.
  public var epsilon: Double?
  /// Quantized tensors by scheme, those with the most elements first; empty where chunks were not read.
  public var schemes: [SchemeFigures] = []
  /// Sizes and errors of other schemes beside this file's; nil where there is nothing to compare with.
  public var tradeOff: TradeOff?

  /// Bytes of all tensors as given.
  public var sourceBytes: UInt64 { tensors.reduce(0) { $0 + $1.sourceBytes } }

  /// Bytes of all chunks as stored.
  public var storedBytes: UInt64 { tensors.reduce(0) { $0 + $1.storedBytes } }

  /// What coding did to the updates of all pairs together; nil where it was not measured.
  public var updateError: UpdateError? {
    let measured = pairs.compactMap(\.error)
    guard let epsilon = measured.first?.epsilon else { return nil }
    return measured.reduce(into: UpdateError(epsilon: epsilon)) { $0.append($1) }
  }

  /// Bits that both moments of a parameter take, over all pairs; nil without pairs.
  public var bitsPerParameter: Double? {
    let parameters = pairs.reduce(0) { $0 + $1.parameters }
    guard parameters > 0 else { return nil }
    return Double(pairs.reduce(0) { $0 + $1.storedBytes }) * 8 / Double(parameters)
  }

  /// Sizes by role, in the order in which roles are told of; roles without tensors are left out.
  public var roles: [RoleFigures] {
    var result: [Role: RoleFigures] = [:]
    for tensor in tensors { result[tensor.role, default: RoleFigures(role: tensor.role)].take(tensor) }
    return Role.inOrderOfReports.compactMap { result[$0] }
  }
}

extension Role {
  /// What is quantized comes first.
  static let inOrderOfReports: [Role] = [
    .firstMoment, .secondMoment, .momentum, .masterWeight, .parameter, .other,
  ]
}
