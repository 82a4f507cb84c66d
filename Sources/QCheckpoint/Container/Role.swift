/// What a tensor is to the optimizer; the raw value is the code that files store.
public enum Role: UInt8, Sendable, CaseIterable {
  case other = 0
  case firstMoment = 1
  case secondMoment = 2
  case momentum = 3
  case masterWeight = 4
  case parameter = 5

  /// The name in policies and JSON.
  public var name: String {
    switch self {
    case .other: "other"
    case .firstMoment: "first_moment"
    case .secondMoment: "second_moment"
    case .momentum: "momentum"
    case .masterWeight: "master_weight"
    case .parameter: "parameter"
    }
  }

  /// The role with a given name, or nil.
  public init?(name: String) {
    guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = match
  }
}
