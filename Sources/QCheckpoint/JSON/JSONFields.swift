import QCodec

/// The members of one JSON object, each to be asked for once; what nobody asked for is refused.
struct JSONFields {
  private let members: [String: JSONValue]
  private var asked: Set<String> = []
  /// Where the object stands in its document, for errors: "rules[2].match".
  let place: String
  private let code: QCodecError.Code

  /// The members of `value`; throws `code` where it is no object.
  init(_ value: JSONValue, place: String, code: QCodecError.Code) throws(QCodecError) {
    guard case .object(let members) = value else {
      throw QCodecError(code, "\(place) is to be an object, not \(value.kindName)")
    }
    self.members = members
    self.place = place
    self.code = code
  }

  func refuse(_ key: String, _ message: String) -> QCodecError {
    QCodecError(code, "\(place.isEmpty ? "" : place + ".")\(key) \(message)")
  }

  mutating func value(_ key: String) -> JSONValue? {
    asked.insert(key)
    return members[key]
  }

  mutating func string(_ key: String) throws(QCodecError) -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.stringValue else { throw refuse(key, "is to be a string, not \(value.kindName)") }
    return text
  }

  mutating func bool(_ key: String) throws(QCodecError) -> Bool? {
    guard let value = value(key) else { return nil }
    guard case .bool(let truth) = value else { throw refuse(key, "is to be true or false, not \(value.kindName)") }
    return truth
  }

  /// A number of 0 to 2^63 − 1.
  mutating func count(_ key: String) throws(QCodecError) -> UInt64? {
    guard let value = value(key) else { return nil }
    guard let number = value.integerValue, number >= 0 else { throw refuse(key, "is to be an integer of 0 or more") }
    return UInt64(number)
  }

  /// A string or an array of one string or more.
  mutating func strings(_ key: String) throws(QCodecError) -> [String]? {
    guard let value = value(key) else { return nil }
    if let text = value.stringValue { return [text] }
    guard case .array(let elements) = value else { throw refuse(key, "is to be a string or an array of strings") }
    var result: [String] = []
    for element in elements {
      guard let text = element.stringValue else { throw refuse(key, "is to hold strings alone") }
      result.append(text)
    }
    guard !result.isEmpty else { throw refuse(key, "is empty and would never match") }
    return result
  }

  /// A string among the names of `cases`.
  mutating func name<Case>(_ key: String, of cases: [Case], _ name: (Case) -> String) throws(QCodecError) -> Case? {
    guard let text = try string(key) else { return nil }
    guard let match = cases.first(where: { name($0) == text }) else {
      throw refuse(key, "is \"\(text)\", not one of \(cases.map(name).joined(separator: ", "))")
    }
    return match
  }

  /// Refuses members that were not asked for.
  func finish() throws(QCodecError) {
    if let stranger = members.keys.filter({ !asked.contains($0) }).min() { throw refuse(stranger, "is unknown") }
  }
}
