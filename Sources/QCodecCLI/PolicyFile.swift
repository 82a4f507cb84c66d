import QCheckpoint
import QCodec
import QPolicyText

/// Policies by preset name, or from a JSON or YAML file.
enum PolicyFile {
  /// The policy that `--policy` names.
  static func load(_ name: String) throws -> Policy {
    if let preset = Policy.preset(name) { return preset }
    guard FileIdentity(path: name) != nil else {
      if name.hasPrefix("adamq:") { throw Failure(Policy.complaint(about: name), status: .usage) }
      let presets = Policy.presetNames.joined(separator: ", ")
      throw Failure("there is no policy or file '\(name)'; policies are \(presets)", status: .usage)
    }
    return try concerning(name) {
      let file = try InputFile(path: name)
      // One byte more than a policy may have is enough to refuse it.
      let count = min(file.byteCount, UInt64(Policy.maximumTextLength + 1))
      return try Policy(text: file.bytes(at: 0, count: Int(count)))
    }
  }

  /// The file that `--policy` names; nil for a preset.
  static func identity(_ name: String) -> FileIdentity? {
    Policy.preset(name) == nil ? FileIdentity(path: name) : nil
  }
}
