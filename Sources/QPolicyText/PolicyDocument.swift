import QCheckpoint
import QCodec
import Yams

/// A policy as YAML holds it: the value, and the line of each of its parts.
struct PolicyDocument {
  /// Of keys and values, with those that aliases repeat.
  private static let maximumValues = 100_000
  /// Longer paths, in bytes, have no line: nothing of a policy has one.
  private static let maximumPath = 512

  private(set) var value = JSONValue.null
  /// Lines by the paths with which errors begin: `policy.rules[2].match.role`.
  private var lines: [String: Int] = [:]

  /// Throws `invalidPolicy` for what is no YAML, and for what no JSON document could be.
  init(yaml text: String) throws(QCodecError) {
    guard !YAMLExtent.exceeds(Self.maximumValues, in: text) else {
      throw QCodecError(.invalidPolicy, "the policy has more than \(Self.maximumValues) values")
    }
    guard let root = try Self.compose(text) else { throw QCodecError(.invalidPolicy, "the policy is empty") }
    lines["policy"] = root.mark?.line
    value = try read(root, at: "policy")
  }

  /// An error of `Policy(json:)` with the line of the longest path that its message begins with.
  func located(_ error: QCodecError) -> QCodecError {
    let message = error.message
    var end =
      message.index(message.startIndex, offsetBy: Self.maximumPath + 1, limitedBy: message.endIndex)
      ?? message.endIndex
    while end > message.startIndex {
      let isEnd = end == message.endIndex || " .[:".contains(message[end])
      if isEnd, let line = lines[String(message[..<end])] { return error.on("line \(line)") }
      end = message.index(before: end)
    }
    return error
  }

  private static func compose(_ text: String) throws(QCodecError) -> Node? {
    do { return try Yams.compose(yaml: text) } catch let error as YamlError {
      throw QCodecError(.invalidPolicy, complaint(error))
    } catch {
      throw QCodecError(.invalidPolicy, "the policy is not valid YAML: \(error)")
    }
  }

  /// The parser's complaint and its place, in one line; its own text quotes the document.
  private static func complaint(_ error: YamlError) -> String {
    let intro = "the policy is not valid YAML: "
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return "\(intro)\(problem) (line \(mark.line), column \(mark.column))"
    case .duplicatedKeysInMapping(let keys, let context):
      return "duplicate key '\(keys.first ?? "")' in the policy (first on line \(context.mark.line))"
    case .reader(let problem, let offset?, _, let yaml):
      let place = Policy.place(of: yaml.prefix(offset).utf8.count, in: Array(yaml.utf8))
      return "\(intro)\(problem) (\(place))"
    default: return intro + String(describing: error).split(whereSeparator: \.isNewline).joined(separator: " ")
    }
  }

  /// The value of a node; of what has a path too long for a line, none is noted.
  private mutating func read(_ node: Node, at path: String?) throws(QCodecError) -> JSONValue {
    switch node {
    case .scalar(let scalar): return Self.scalar(node, scalar)
    case .sequence(let sequence):
      var elements: [JSONValue] = []
      for (index, child) in sequence.enumerated() {
        let part = note(child.mark, at: path, "[\(index)]")
        elements.append(try read(child, at: part))
      }
      return .array(elements)
    case .mapping(let mapping):
      var members: [String: JSONValue] = [:]
      for (key, child) in mapping {
        let line = "line \(key.mark?.line ?? 0)"
        guard let name = key.string else {
          throw QCodecError(.invalidPolicy, "a key of the policy is no string").on(line)
        }
        let part = note(key.mark, at: path, ".\(name)")
        guard members.updateValue(try read(child, at: part), forKey: name) == nil else {
          throw QCodecError(.invalidPolicy, "duplicate key '\(name)' in the policy").on(line)
        }
      }
      return .object(members)
    case .alias: throw QCodecError(.invalidPolicy, "aliases are not read in policies")
    }
  }

  /// Keeps the line of a part and gives its path, unless that is too long.
  private mutating func note(_ mark: Mark?, at path: String?, _ part: String) -> String? {
    guard let path, path.utf8.count + part.utf8.count <= Self.maximumPath else { return nil }
    lines[path + part] = mark?.line
    return path + part
  }

  private static func scalar(_ node: Node, _ scalar: Node.Scalar) -> JSONValue {
    switch node.tag.description {
    case Tag.Name.null.rawValue: return .null
    case Tag.Name.bool.rawValue: return node.bool.map { .bool($0) } ?? .string(scalar.string)
    case Tag.Name.int.rawValue: return node.int.map { .integer(Int64($0)) } ?? .string(scalar.string)
    case Tag.Name.float.rawValue: return node.float.map { .number($0) } ?? .string(scalar.string)
    default: return .string(scalar.string)
    }
  }
}
