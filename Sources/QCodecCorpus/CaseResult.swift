/// What became of one damaged file.
enum CaseOutcome: String, CaseIterable, Sendable {
  /// A typed error from opening, reading or verifying.
  case detected
  /// The change left the same bytes, so that there is nothing to detect.
  case harmless
  /// Accepted, by reading with another value, name, record or metadata, or by verification with any other byte. There must
  /// be none.
  case missed
}

/// One case and what was found wrong with the library's answer to it.
struct CaseResult: Sendable {
  let number: UInt64
  let mutation: Mutation
  let outcome: CaseOutcome
  /// Whether reading alone, without verification, gave an error.
  let isDetectedByReading: Bool
  /// Whether the directory was found.
  let hasDirectory: Bool
  /// Tensors that salvage gave back whole, of those that the damage left whole.
  let recovered: Int
  let undamaged: Int
  /// What salvage or the list of damage got wrong, in words; nil for nothing.
  let failure: String?
}
