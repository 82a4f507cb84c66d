import QCodec

/// Which second moment a first moment is divided by in the update domain.
///
/// The partner is the one tensor of the role second moment and of the same shape whose name differs from the first
/// moment's only in the token that tells the role: a whole component of the name, or a known name at a component's end.
/// `max_exp_avg_sq` is no partner. None or several means none.
struct PartnerFinder {
  /// What the search came to.
  enum Result: Equatable {
    case none
    /// The partner, by its place in the list of tensors.
    case one(Int)
    case several
  }

  /// Tokens of first moments; those in `whole` count as whole components only, for modules bear such names too.
  private static let first = [
    "exp_avg", "exp_avgs", "exp_avg_slow", "exp_avg_fast", "grad_avg", "first_moment",
  ]
  private static let wholeFirst = ["m", "mu", "state1", "momentum", "moment1", "adam_m"]
  private static let second = [
    "exp_avg_sq", "exp_avg_sqs", "square_avg", "square_avgs", "second_moment", "v", "nu", "state2", "velocity",
    "moment2", "adam_v",
  ]

  private let places: [NameKey: Int]
  private let isCandidate: (Int) -> Bool
  private let shapes: [[UInt64]]

  /// A finder among tensors; `roles` and `shapes` are in the order of `names`.
  init(names: [String], roles: [Role], shapes: [[UInt64]]) {
    places = Dictionary(names.enumerated().map { (NameKey($0.element), $0.offset) }) { first, _ in first }
    isCandidate = { roles[$0] == .secondMoment }
    self.shapes = shapes
  }

  /// The partner of the first moment at a place of the list.
  func partner(of name: String, shape: [UInt64]) -> Result {
    var found: Set<Int> = []
    for range in Self.tokens(of: name) {
      for token in Self.second {
        let candidate = name[..<range.lowerBound] + token + name[range.upperBound...]
        if let place = places[NameKey(String(candidate))], isCandidate(place), shapes[place] == shape {
          found.insert(place)
        }
      }
    }
    guard let only = found.first else { return .none }
    return found.count == 1 ? .one(only) : .several
  }

  /// Where tokens of first moments stand in a name.
  private static func tokens(of name: String) -> [Range<String.Index>] {
    var result: [Range<String.Index>] = []
    for component in name.split(whereSeparator: { "./:[]()'\", ".contains($0) }) {
      for token in wholeFirst where component == token { result.append(component.startIndex..<component.endIndex) }
      for token in first where component.hasSuffix(token) {
        let start = component.index(component.endIndex, offsetBy: -token.count)
        let isEnding = start == component.startIndex || "_-".contains(component[component.index(before: start)])
        if isEnding { result.append(start..<component.endIndex) }
      }
    }
    return result
  }
}
