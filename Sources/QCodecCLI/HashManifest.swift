import QCodec
import QVerify

/// The lines that `hash` prints and `hash --check` reads.
struct HashManifest {
  /// One line.
  struct Entry {
    let values: Hash128
    /// nil for `-`.
    let stored: Hash128?
    let file: String
    /// nil for the file as a whole.
    let tensor: String?
  }

  let entries: [Entry]

  /// The entries of a file: as a whole, if it is, then its tensors.
  init(_ hashes: DocumentHashes, file: String, isWhole: Bool) {
    let whole = isWhole ? [Entry(values: hashes.values, stored: hashes.stored, file: file, tensor: nil)] : []
    entries = whole + hashes.tensors.map { Entry(values: $0.values, stored: $0.stored, file: file, tensor: $0.name) }
  }

  var lines: [String] {
    entries.map { entry in
      let tensor = entry.tensor.map { "\t" + Self.escaped($0) } ?? ""
      return "\(entry.values)  \(entry.stored?.description ?? "-")  \(Self.escaped(entry.file))\(tensor)"
    }
  }

  // MARK: Reading

  /// The entries of a manifest's bytes; a failure of `path` names the line that is none.
  init(parsing bytes: [UInt8], path: String) throws {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure("the manifest is not UTF-8", file: path, status: .invalidInput)
    }
    // By bytes: CR LF is one character.
    let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    entries = try lines.enumerated().filter { !$1.isEmpty }.map { number, line in
      guard let entry = Self.entry(String(Substring(line))) else {
        throw Failure("line \(number + 1) is none of a manifest", file: path, status: .invalidInput)
      }
      return entry
    }
    guard !entries.isEmpty else { throw Failure("the manifest is empty", file: path, status: .invalidInput) }
  }

  private static func entry(_ line: String) -> Entry? {
    // Files may begin with a space, too.
    let columns = line.split(separator: "  ", maxSplits: 2, omittingEmptySubsequences: false)
    guard columns.count == 3, let values = Hash128(String(columns[0])) else { return nil }
    let stored = Hash128(String(columns[1]))
    guard stored != nil || columns[1] == "-" else { return nil }
    let names = columns[2].split(separator: "\t", omittingEmptySubsequences: false).map { unescaped($0) }
    guard names.count <= 2, let file = names[0], !file.isEmpty else { return nil }
    guard names.count == 2 else { return Entry(values: values, stored: stored, file: file, tensor: nil) }
    guard let tensor = names[1] else { return nil }
    return Entry(values: values, stored: stored, file: file, tensor: tensor)
  }

  // MARK: Names

  /// A name without control characters, from which `unescaped` makes the name again.
  static func escaped(_ name: String) -> String {
    // Scalar by scalar: within strings a combining mark could hide a backslash.
    var doubled = String.UnicodeScalarView()
    for scalar in name.unicodeScalars {
      if scalar == "\\" { doubled.append(scalar) }
      doubled.append(scalar)
    }
    return String(doubled).escapingControls
  }

  /// The name that was escaped; nil for what no name is escaped to.
  static func unescaped(_ text: some StringProtocol) -> String? {
    var name = String.UnicodeScalarView()
    var rest = Substring(text).unicodeScalars
    while let scalar = rest.popFirst() {
      guard scalar == "\\" else {
        name.append(scalar)
        continue
      }
      switch rest.popFirst() {
      case "\\": name.append("\\")
      case "n": name.append("\n")
      case "r": name.append("\r")
      case "t": name.append("\t")
      case "u":
        guard rest.popFirst() == "{", let end = rest.firstIndex(of: "}"),
          let value = UInt32(String(rest[..<end]), radix: 16), let found = Unicode.Scalar(value)
        else { return nil }
        name.append(found)
        rest = rest[rest.index(after: end)...]
      default: return nil
      }
    }
    return String(name)
  }
}
