/// The feature bits of a header without which a file cannot be read. This version has none; some bits are kept for what
/// is to come, so that a refusal can say what a file is.
struct RequiredFeatures {
  /// The features that a bit is kept for, from bit 0 on.
  static let names = ["block-schemes", "base-file", "encryption"]

  let bits: UInt64

  /// The bits that are set, each with its name where it has one: `'encryption' (bit 2), bit 63`.
  var description: String {
    (0..<64).filter { bits >> UInt64($0) & 1 == 1 }.map { bit in
      bit < Self.names.count ? "'\(Self.names[bit])' (bit \(bit))" : "bit \(bit)"
    }.joined(separator: ", ")
  }
}
