import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Opening checkpoints of very many tensors, their directories checked throughout, and finding tensors by name.
struct BenchOpen {
  /// What was measured of one checkpoint.
  struct Row {
    let tensors: Int
    let fileBytes: UInt64
    let opening: BenchSamples
    /// Of one name, the mean of many.
    let finding: BenchSamples

    var json: JSONValue {
      .object([
        "tensors": .count(tensors), "file_bytes": .count(fileBytes), "seconds": .number(opening.median),
        "seconds_min": .number(opening.least), "seconds_max": .number(opening.greatest),
        "find_seconds": .number(finding.median), "runs": .count(opening.count),
      ])
    }
  }

  private static let names = ["exp_avg", "exp_avg_sq", "step", "weight"]
  /// Names that are looked up in a run.
  private static let lookups = 1000

  private let path: String

  init(folder: String) { path = BenchCheckpoint.path(in: folder) }

  /// One row for each number of tensors.
  func run(tensors: [Int], runs: Int) throws -> [Row] {
    try concerning(path) {
      defer { unsafe unlink(path) }
      return try tensors.map { try row(tensors: $0, runs: runs) }
    }
  }

  private func row(tensors: Int, runs: Int) throws -> Row {
    let fileBytes = try write(tensors: tensors)
    var (opening, finding) = (BenchSamples(), BenchSamples())
    // Names all over the directory, in no order that it has.
    let wanted = (0..<Self.lookups).map { Self.name(Int(UInt64($0) &* 2_654_435_761 % UInt64(tensors))) }
    // One run that does not count.
    for run in 0...runs {
      var reader: CheckpointReader?
      var (open, find) = (BenchSamples(), BenchSamples())
      try open.measure { reader = try CheckpointReader(path: path) }
      guard let reader, reader.tensorCount == tensors else {
        throw QCodecError(.directoryCorrupt, "other tensors than were written")
      }
      var found = 0
      find.measure { for name in wanted where reader.find(name) != nil { found += 1 } }
      guard found == wanted.count else { throw QCodecError(.tensorNotFound, "a tensor that was written") }
      guard run > 0 else { continue }
      opening.add(open.median)
      finding.add(find.median / Double(wanted.count))
    }
    return Row(tensors: tensors, fileBytes: fileBytes, opening: opening, finding: finding)
  }

  /// Names as a state of many layers has them.
  private static func name(_ tensor: Int) -> String {
    "model.layers.\(tensor / names.count).mlp.weight/\(names[tensor % names.count])"
  }

  /// Writes a checkpoint of tensors of four elements each; returns its bytes.
  private func write(tensors: Int) throws -> UInt64 {
    let writer = try Interruption.held {
      let writer = try CheckpointWriter(path: path)
      Interruption.removeWhenInterrupted(writer.temporaryPath)
      return writer
    }
    let source = MemorySource([1, 2, 3, 4])
    // Some at a time: descriptions take more memory than the tensors.
    for start in stride(from: 0, to: tensors, by: 1 << 16) {
      try writer.add(
        (start..<min(tensors, start + 1 << 16)).map { tensor in
          let added = NewTensor(
            name: Self.name(tensor), dtype: .f32, encoding: .lossless(reason: .none), source: source)
          return .tensor(added, shape: [4])
        })
    }
    let summary = try writer.finish()
    Interruption.removeWhenInterrupted(path)
    return summary.fileBytes
  }
}
