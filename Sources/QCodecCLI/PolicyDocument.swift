import QCheckpoint
import QCodec
import Yams

/// A policy as YAML holds it: the value, and the line of each of its parts.
struct PolicyDocument {
  /// Aliases may repeat a part any number of times.
  private static let maximumValues = 100_000

  private(set) var value = JSONValue.null
  /// Lines by the paths with which errors begin: `policy.rules[2].match.role`.
  private var lines: [String: Int] = [:]
  private var values = 0

  /// Throws `invalidPolicy` for what no JSON document could be.
  init(_ root: Node) throws(QCodecError) {
    lines["policy"] = root.mark?.line
    value = try read(root, at: "policy")
  }

  /// An error of `Policy(json:)` with the line of the longest path that its message begins with.
  func located(_ error: QCodecError) -> QCodecError {
    var end = error.message.endIndex
    while end > error.message.startIndex {
      let isEnd = end == error.message.endIndex || " .[:".contains(error.message[end])
      if isEnd, let line = lines[String(error.message[..<end])] { return error.on("line \(line)") }
      end = error.message.index(before: end)
    }
    return error
  }

  private mutating func read(_ node: Node, at path: String) throws(QCodecError) -> JSONValue {
    values += 1
    guard values <= Self.maximumValues else {
      throw QCodecError(.invalidPolicy, "the policy has more than \(Self.maximumValues) values")
    }
    switch node {
    case .scalar(let scalar): return Self.scalar(node, scalar)
    case .sequence(let sequence):
      var elements: [JSONValue] = []
      for (index, child) in sequence.enumerated() {
        lines["\(path)[\(index)]"] = child.mark?.line
        elements.append(try read(child, at: "\(path)[\(index)]"))
      }
      return .array(elements)
    case .mapping(let mapping):
      var members: [String: JSONValue] = [:]
      for (key, child) in mapping {
        let line = "line \(key.mark?.line ?? 0)"
        guard let name = key.string else {
          throw QCodecError(.invalidPolicy, "a key of the policy is no string").on(line)
        }
        lines["\(path).\(name)"] = key.mark?.line
        guard members.updateValue(try read(child, at: "\(path).\(name)"), forKey: name) == nil else {
          throw QCodecError(.invalidPolicy, "duplicate key '\(name)' in the policy").on(line)
        }
      }
      return .object(members)
    case .alias: throw QCodecError(.invalidPolicy, "aliases are not read in policies")
    }
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
