/// The feature bits of a header without which a file cannot be read. This version knows one; other bits are kept for what is
/// to come, so that a refusal can say what a file is.
struct RequiredFeatures {
  /// The features that a bit is kept for, from bit 0 on.
  static let names = ["block-schemes", "base-file", "encryption"]

  /// Chunks may be those of a base, or differences to them.
  static let baseFile: UInt64 = 1 << 1

  let bits: UInt64

  /// Those that this version does not know.
  var unknown: RequiredFeatures { RequiredFeatures(bits: bits & ~Self.baseFile) }

  /// The bits that are set, each with its name where it has one: `'encryption' (bit 2), bit 63`.
  var description: String {
    (0..<64).filter { bits >> UInt64($0) & 1 == 1 }.map { bit in
      bit < Self.names.count ? "'\(Self.names[bit])' (bit \(bit))" : "bit \(bit)"
    }.joined(separator: ", ")
  }
}
