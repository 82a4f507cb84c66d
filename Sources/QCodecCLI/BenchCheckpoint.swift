import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Saving and loading a state in memory through the library, as a program that embeds it would.
struct BenchCheckpoint {
  /// One operation under one lossless stage.
  struct Row {
    let operation: String
    let compression: Compression
    let bytes: Int
    let fileBytes: UInt64
    let threads: Int
    let samples: BenchSamples
    /// The most memory beyond the arrays; nil where the system does not tell.
    let extraMemory: UInt64?

    var json: JSONValue {
      .object([
        "operation": .string(operation), "policy": .string("adam8"), "compression": .string(compression.name),
        "bytes": .count(bytes), "file_bytes": .count(fileBytes), "threads": .count(threads),
        "seconds": .number(samples.median), "seconds_min": .number(samples.least),
        "seconds_max": .number(samples.greatest), "runs": .count(samples.count),
        "peak_extra_bytes": extraMemory.map { .count($0) } ?? .null,
      ])
    }
  }

  /// Pairs of tensors, and so half the tensors of the state.
  static let pairs = 8

  private let shape: [UInt64]
  private let arrays: [BenchMemory]
  private let schemes: (first: Scheme, second: Scheme)
  private let path: String
  private let threads: Int

  /// A state of about `size` bytes that repeats the moments, to be saved in `folder`.
  init(_ moments: BenchMoments, size: Int, folder: String, threads: Int) throws {
    let rows = max(1, size / (4 * BenchMoments.columns * 2 * Self.pairs))
    shape = [UInt64(rows), UInt64(BenchMoments.columns)]
    guard case .pair(let first, let second)? = BenchScheme.pair("adam8")?.work else {
      throw QCodecError(.invalidArgument, "the policy adam8 has no pair")
    }
    schemes = (first, second)
    self.threads = threads
    path = Self.path(in: folder)
    arrays = try (0..<2 * Self.pairs).map { tensor in
      let array = try BenchMemory(byteCount: 4 * BenchMoments.columns * rows)
      array.fill(repeating: tensor % 2 == 0 ? moments.first : moments.second)
      return array
    }
  }

  /// Refuses a folder that no file can be written to, before minutes are spent on measuring.
  static func check(_ folder: String) throws {
    let path = path(in: folder)
    try concerning(path) { try CheckpointWriter(path: path).abort() }
  }

  /// The file that is written, by one part of the benchmark at a time.
  static func path(in folder: String) -> String { "\(folder)/qcodec-bench-\(getpid()).qckpt" }

  private var byteCount: Int { arrays.reduce(0) { unsafe $0 + $1.bytes.count } }

  /// Both operations under the default lossless stage and without one.
  func run(runs: Int) throws -> [Row] {
    try concerning(path) {
      defer { unsafe unlink(path) }
      return try [Compression.lz4, .none].flatMap { try run($0, runs: runs) }
    }
  }

  private func run(_ compression: Compression, runs: Int) throws -> [Row] {
    var (saves, loads, fileBytes) = (BenchSamples(), BenchSamples(), UInt64(0))
    var (saveMemory, loadMemory): (UInt64?, UInt64?) = (0, 0)
    // One run of each that does not count.
    for run in 0...runs {
      var (save, load) = (BenchSamples(), BenchSamples())
      let saved = try Self.extraMemory { try save.measure { fileBytes = try self.save(compression) } }
      let targets = try arrays.map { try unsafe BenchMemory(byteCount: $0.bytes.count) }
      let loaded = try Self.extraMemory { try load.measure { try self.load(into: targets) } }
      guard run > 0 else { continue }
      saves.add(save.median)
      loads.add(load.median)
      saveMemory = Self.greater(saveMemory, saved)
      // The arrays were not there before.
      loadMemory = Self.greater(loadMemory, loaded.map { $0 - min($0, UInt64(byteCount)) })
    }
    return [("save", saves, saveMemory), ("load", loads, loadMemory)].map { operation, samples, memory in
      Row(
        operation: operation, compression: compression, bytes: byteCount, fileBytes: fileBytes, threads: threads,
        samples: samples, extraMemory: memory)
    }
  }

  /// What `body` adds to the resident memory at most.
  private static func extraMemory(_ body: () throws -> Void) rethrows -> UInt64? {
    let knows = ResidentMemory.resetPeak()
    let before = ResidentMemory.now
    try body()
    guard knows, let before, let peak = ResidentMemory.peak else { return nil }
    return peak - min(peak, before)
  }

  private static func greater(_ one: UInt64?, _ other: UInt64?) -> UInt64? {
    guard let one, let other else { return nil }
    return max(one, other)
  }

  /// Saves all tensors, to stable storage; returns the bytes of the file.
  private func save(_ compression: Compression) throws -> UInt64 {
    let writer = try Interruption.held {
      let writer = try CheckpointWriter(path: path, options: WriterOptions(compression: compression, threads: threads))
      Interruption.removeWhenInterrupted(writer.temporaryPath)
      return writer
    }
    try writer.add((0..<Self.pairs).map { addition($0) })
    let summary = try writer.finish()
    Interruption.removeWhenInterrupted(path)
    return summary.fileBytes
  }

  private func addition(_ pair: Int) -> Addition {
    func tensor(_ name: String, _ role: Role, _ scheme: Scheme, _ array: BenchMemory) -> NewTensor {
      // Safe: the arrays live as long as the state.
      let source = unsafe BorrowedSource(UnsafeRawBufferPointer(array.bytes))
      return NewTensor(
        name: "\(pair).\(name)", dtype: .f32, role: role, encoding: .quantized(scheme), source: source)
    }
    return .pair(
      first: tensor("exp_avg", .firstMoment, schemes.first, arrays[2 * pair]),
      second: tensor("exp_avg_sq", .secondMoment, schemes.second, arrays[2 * pair + 1]), shape: shape, fallback: nil)
  }

  /// Opens the file and reads all of it into memory that nothing was ever written to.
  private func load(into targets: [BenchMemory]) throws {
    let reader = try CheckpointReader(path: path)
    let wanted = try unsafe targets.enumerated().map { index, target in
      let name = "\(index / 2).\(index % 2 == 0 ? "exp_avg" : "exp_avg_sq")"
      guard let tensor = reader.find(name) else { throw QCodecError(.tensorNotFound, "not saved", tensor: name) }
      return unsafe (tensor: tensor, target: target.bytes)
    }
    try unsafe reader.read(wanted, threads: threads)
  }
}
