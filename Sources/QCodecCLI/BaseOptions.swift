import ArgumentParser
import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The bases of checkpoints that refer to others, for commands that read them.
struct BaseOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The base of a checkpoint that has one, where it is not at the place that was recorded; may be repeated.",
      valueName: "base"), completion: Completions.checkpoints)
  var base: [String] = []

  func validate() throws {
    if base.contains("-") { throw ValidationError("a base is a file, not standard input") }
  }

  /// The checkpoints named, each with its own base where that is at its place.
  func readers() throws -> [CheckpointReader] { try base.map { try Inputs.checkpoint($0) } }
}

/// A path in two parts.
struct FilePlace {
  /// Slash included; empty for the current folder.
  let folder: String
  let name: String

  init(_ path: String) {
    let slash = path.lastIndex(of: "/")
    folder = slash.map { String(path[...$0]) } ?? ""
    name = slash.map { String(path[path.index(after: $0)...]) } ?? path
  }

  /// The path of this file from the folder of another on; its name alone where a folder is not to be found.
  func relative(to other: FilePlace) -> String {
    guard let own = Self.components(of: folder), let from = Self.components(of: other.folder) else { return name }
    let shared = zip(own, from).prefix { $0 == $1 }.count
    return (Array(repeating: "..", count: from.count - shared) + own[shared...] + [name]).joined(separator: "/")
  }

  private static func components(of folder: String) -> [String]? {
    guard let path = unsafe realpath(folder.isEmpty ? "." : folder, nil) else { return nil }
    defer { unsafe free(path) }
    return unsafe String(cString: path).split(separator: "/").map(String.init)
  }
}
