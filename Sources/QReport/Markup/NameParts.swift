/// Names of tensors by their parts, each with the mark that ends it: "blocks.", "3.", "weight".
enum NameParts {
  /// The parts of a name, at most nine of them.
  static func split(_ name: String) -> [String] {
    var parts: [String] = []
    var part = ""
    // Of a long name the rest is one part.
    for scalar in name.unicodeScalars.prefix(400) {
      part.unicodeScalars.append(scalar)
      guard scalar == "." || scalar == "/", parts.count < 8 else { continue }
      parts.append(part)
      part = ""
    }
    return part.isEmpty ? parts : parts + [part]
  }

  /// Names without the parts that all of them begin and end with; as they are where one would be left without any.
  static func shortened(_ names: [String]) -> [String] {
    let all = names.map(split)
    guard let first = all.first, all.count > 1 else { return names }
    let shortest = all.map(\.count).min() ?? 0
    let start = (0..<shortest).first { place in all.contains { $0[place] != first[place] } } ?? shortest
    let end =
      (0..<shortest).first { place in
        all.contains { $0[$0.count - 1 - place] != first[first.count - 1 - place] }
      } ?? shortest
    guard start + end < shortest else { return names }
    return all.map { parts in
      let name = parts[start..<parts.count - end].joined()
      return end > 0 && (name.hasSuffix(".") || name.hasSuffix("/")) ? String(name.dropLast()) : name
    }
  }
}
