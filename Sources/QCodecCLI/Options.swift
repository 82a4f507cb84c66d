import ArgumentParser
import QCheckpoint
import QCodec

/// The names that `--scale` takes.
enum ScaleOption: String, ExpressibleByArgument, CaseIterable {
  case auto, absmax
}

/// The names that `--nonfinite` takes.
enum NonFiniteOption: String, ExpressibleByArgument, CaseIterable {
  case error, raw

  var policy: NonFinitePolicy { self == .raw ? .raw : .error }
}

/// The names that `--compression` takes.
enum CompressionOption: String, ExpressibleByArgument, CaseIterable {
  case none, lz4, zstd

  var compression: Compression {
    switch self {
    case .none: .none
    case .lz4: .lz4
    case .zstd: .zstd
    }
  }
}

/// ε of the update m/(√v + ε), for commands that measure it.
struct EpsilonOptions: ParsableArguments {
  @Option(help: "ε of the update m/(√v + ε).")
  var eps = 1e-8

  func validate() throws {
    if !(eps >= 0 && eps.isFinite) { throw ValidationError("--eps is to be 0 or more") }
  }
}

/// The number of threads, by default those of the affinity mask.
struct ThreadOptions: ParsableArguments {
  @Option(name: .long, help: "Threads to use; they do not change the result.")
  var threads: Int?

  func validate() throws {
    if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads is to be 1 to 1024") }
  }

  var count: Int { threads ?? availableThreads() }
}

/// Tensors chosen by globs.
struct TensorFilter {
  private let globs: [Glob]

  init(_ patterns: [String]) throws {
    globs = try patterns.map { pattern in
      do throws(QCodecError) { return try Glob(pattern) } catch { throw Failure(error.description, status: .usage) }
    }
  }

  /// Whether a name matches any glob; every name does without globs.
  func holds(_ name: String) -> Bool { globs.isEmpty || globs.contains { $0.matches(name) } }

  /// The tensors whose names match any glob, all without globs; an error where none does.
  func indices(in reader: CheckpointReader, file: String) throws -> [Int] {
    guard !globs.isEmpty else { return Array(0..<reader.tensorCount) }
    let result = (0..<reader.tensorCount).filter { holds(reader.tensor($0).name) }
    guard !result.isEmpty else { throw noMatch(in: file) }
    return result
  }

  /// Throws where globs chose none of a file's tensors.
  func requireMatch(_ tensors: [InputTensor], file: String) throws {
    if tensors.isEmpty, !globs.isEmpty { throw noMatch(in: file) }
  }

  private func noMatch(in file: String) -> Failure {
    let patterns = globs.map(\.pattern).joined(separator: ", ")
    return Failure(QCodecError(.tensorNotFound, "no tensor matches \(patterns)"), file: file)
  }
}
