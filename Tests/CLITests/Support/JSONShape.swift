import QCheckpoint
import Testing

/// What a member of a document has to be.
enum Kind {
  case integer, number, string, bool, array, object, null

  func holds(_ value: JSONValue) -> Bool {
    switch (self, value) {
    case (.integer, .integer), (.number, .integer), (.number, .number), (.string, .string), (.bool, .bool),
      (.array, .array), (.object, .object), (.null, .null):
      true
    default: false
    }
  }
}

/// Expects members of these kinds; more may be there.
func expectMembers(
  _ document: JSONValue?, _ kinds: [String: Kind], _ comment: Comment = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  for (key, kind) in kinds.sorted(by: { $0.key < $1.key }) {
    let value = document?[key]
    #expect(
      value.map(kind.holds) == true, "\(comment) '\(key)' is \(String(describing: value)), wanted \(kind)",
      sourceLocation: sourceLocation)
  }
}

extension JSONValue {
  /// The integers of an array; nil for anything else.
  var integers: [Int]? {
    guard let values = arrayValue?.map(\.integerValue), !values.contains(nil) else { return nil }
    return values.compactMap { $0.map { Int($0) } }
  }
}
