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

/// What shells offer for arguments.
enum Completions {
  /// Files of any kind that `encode` reads.
  static let documents = CompletionKind.file(extensions: ["safetensors", "qckpt", "npy", "npz", "json"])
  static let checkpoints = CompletionKind.file(extensions: ["qckpt"])
  static let safetensors = CompletionKind.file(extensions: ["safetensors"])

  /// The presets, and files that may hold a policy.
  static let policies = CompletionKind.custom { _, _, prefix in
    Policy.presetNames + policyFiles(prefix)
  }

  /// Levels of kernels, and all of them.
  static let kernels = CompletionKind.list(KernelLevel.allCases.map(\.name) + ["all"])

  /// The files of rules, and the folders, whose paths begin with a prefix; none where the folder cannot be read.
  private static func policyFiles(_ prefix: String) -> [String] {
    let folder = prefix.lastIndex(of: "/").map { String(prefix[...$0]) } ?? ""
    guard let stream = unsafe opendir(folder.isEmpty ? "." : folder) else { return [] }
    defer { unsafe closedir(stream) }
    var paths: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      let isFolder = unsafe entry.pointee.d_type == UInt8(DT_DIR)
      let isPolicy = [".json", ".yaml", ".yml"].contains { name.hasSuffix($0) }
      guard !name.hasPrefix("."), isFolder || isPolicy, (folder + name).hasPrefix(prefix) else { continue }
      paths.append(folder + name + (isFolder ? "/" : ""))
    }
    return paths.sorted()
  }
}
