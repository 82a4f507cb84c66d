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
      return try isJSON ? json(bytes) : yaml(bytes)
    }
  }

  /// The file that `--policy` names; nil for a preset.
  static func identity(_ name: String) -> FileIdentity? {
    Policy.preset(name) == nil ? FileIdentity(path: name) : nil
  }

  private static func json(_ bytes: [UInt8]) throws -> Policy {
    let document: JSONValue
    do throws(QCodecError) { document = try JSONValue(parsing: bytes) } catch {
      throw error.on(place(of: Int(error.offset ?? 0), in: bytes))
    }
    do throws(QCodecError) { return try Policy(json: document) } catch {
      // JSON is YAML but for rarities; where those occur no line is named.
      guard let node = try? compose(yaml: String(decoding: bytes, as: UTF8.self)),
        let lines = try? PolicyDocument(node)
      else { throw error }
      throw lines.located(error)
    }
  }

  private static func yaml(_ bytes: [UInt8]) throws -> Policy {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
      let line = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0
      throw QCodecError(.invalidPolicy, "the policy is not valid UTF-8").on("line \(line + 1)")
    }
    let document: PolicyDocument
    do {
      guard let node = try compose(yaml: text) else { throw QCodecError(.invalidPolicy, "the policy is empty") }
      document = try PolicyDocument(node)
    } catch let error as YamlError {
      throw QCodecError(.invalidPolicy, complaint(error))
    }
    do throws(QCodecError) { return try Policy(json: document.value) } catch { throw document.located(error) }
  }

  /// Line and column of a byte; columns count characters as YAML does.
  private static func place(of offset: Int, in bytes: [UInt8]) -> String {
    let before = bytes.prefix(offset)
    let start = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    // Bytes that continue a character are 10xxxxxx.
    let column = before[start...].count { $0 & 0xC0 != 0x80 } + 1
    return "line \(before.count { $0 == 0x0A } + 1), column \(column)"
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
      return "\(intro)\(problem) (\(place(of: yaml.prefix(offset).utf8.count, in: Array(yaml.utf8))))"
    default: return intro + String(describing: error).split(whereSeparator: \.isNewline).joined(separator: " ")
    }
  }
}

extension QCodecError {
  /// The error with its place in a text instead of a byte's.
  func on(_ place: String) -> QCodecError { QCodecError(code, "\(message) (\(place))") }
}
