/// The feature bits of a header without which a file cannot be read. Those that this version does not have are kept for
/// what is to come, so that a refusal can say what a file is.
struct RequiredFeatures: OptionSet {
  /// The features that a bit stands for or is kept for, from bit 0 on.
  static let names = ["escapes", "base-file", "encryption"]
  /// Tensors may have escapes.
  static let escapes = RequiredFeatures(rawValue: 1 << 0)
  /// Chunks may be those of a base, or differences to them.
  static let baseFile = RequiredFeatures(rawValue: 1 << 1)
  /// Those of this version.
  static let known: RequiredFeatures = [.escapes, .baseFile]

  let rawValue: UInt64

  /// Those that this version does not know.
  var unknown: RequiredFeatures { subtracting(.known) }

  /// The bits that are set, each with its name where it has one: `'encryption' (bit 2), bit 63`.
  var description: String {
    (0..<64).filter { rawValue >> UInt64($0) & 1 == 1 }.map { bit in
      bit < Self.names.count ? "'\(Self.names[bit])' (bit \(bit))" : "bit \(bit)"
    }.joined(separator: ", ")
  }
}
