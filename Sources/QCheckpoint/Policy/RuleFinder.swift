/// The rules of a policy by the names that they are for: a policy with a rule for each of thousands of tensors, as plans are,
/// is then asked in a time that does not grow with it.
struct RuleFinder {
  private let rules: [Policy.Rule]
  /// Places of rules for one name alone, in order.
  private var named: [NameKey: [Int]] = [:]
  /// Places of all others, in order.
  private var general: [Int] = []

  init(_ rules: [Policy.Rule]) {
    self.rules = rules
    for (place, rule) in rules.enumerated() {
      if let name = rule.match.name?.literal {
        named[NameKey(name), default: []].append(place)
      } else {
        general.append(place)
      }
    }
  }

  /// The first rule, in the order of the policy, whose conditions hold.
  func first(forName name: String, where holds: (Policy.Match) -> Bool) -> Policy.Rule? {
    let isMatch = { (place: Int) in holds(rules[place].match) }
    let places = [named[NameKey(name)]?.first(where: isMatch), general.first(where: isMatch)]
    return places.compactMap(\.self).min().map { rules[$0] }
  }
}
