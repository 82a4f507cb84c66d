import QCheckpoint
import QCodec
import Yams

/// Policies by preset name, or from a JSON or YAML file.
enum PolicyFile {
  /// The policy that `--policy` names.
  static func load(_ name: String) throws -> Policy {
    if let preset = Policy.preset(name) { return preset }
    guard FileIdentity(path: name) != nil else {
      let presets = Policy.presetNames.joined(separator: ", ")
      throw Failure("there is no policy or file '\(name)'; policies are \(presets)", status: .usage)
    }
    return try concerning(name) {
      let file = try InputFile(path: name)
      guard file.byteCount <= 16 << 20 else { throw QCodecError(.invalidPolicy, "a policy of more than 16 MiB") }
      let bytes = try file.bytes(at: 0, count: Int(file.byteCount))
      let isJSON = bytes.first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 } == UInt8(ascii: "{")
      return try Policy(json: isJSON ? JSONValue(parsing: bytes) : yaml(bytes))
    }
  }

  /// The file that `--policy` names; nil for a preset.
  static func identity(_ name: String) -> FileIdentity? {
    Policy.preset(name) == nil ? FileIdentity(path: name) : nil
  }

  private static func yaml(_ bytes: [UInt8]) throws -> JSONValue {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw QCodecError(.invalidPolicy, "the policy is not valid UTF-8")
    }
    do {
      guard let node = try compose(yaml: text) else { throw QCodecError(.invalidPolicy, "the policy is empty") }
      return try value(node)
    } catch let error as YamlError {
      throw QCodecError(.invalidPolicy, "the policy is not valid YAML: \(complaint(error))")
    }
  }

  /// The parser's complaint and its place, in one line; its own text quotes the document.
  private static func complaint(_ error: YamlError) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "\(problem), line \(mark.line), column \(mark.column)"
    default: String(describing: error).split(whereSeparator: \.isNewline).joined(separator: " ")
    }
  }

  private static func value(_ node: Node) throws -> JSONValue {
    switch node {
    case .scalar(let scalar): return self.scalar(node, scalar)
    case .sequence(let sequence): return .array(try sequence.map(value))
    case .mapping(let mapping):
      var members: [String: JSONValue] = [:]
      for (key, child) in mapping {
        guard let name = key.string else { throw QCodecError(.invalidPolicy, "a key of the policy is no string") }
        guard members.updateValue(try value(child), forKey: name) == nil else {
          throw QCodecError(.invalidPolicy, "duplicate key '\(name)' in the policy")
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
