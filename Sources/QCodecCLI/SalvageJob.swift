import QCheckpoint
import QCodec

/// What `decode --salvage` can restore of a checkpoint, and what not.
struct SalvageJob {
  private let recovery: Recovery

  /// Looks a file over, every element of the tensors that the filter holds; throws for what is no checkpoint and where no
  /// tensor matches.
  init(_ path: String, filter: TensorFilter, threads: Int) throws {
    let file = try Inputs.file(path)
    let progress = Progress(total: nil)
    defer { progress.finish() }
    do {
      recovery = try Recovery(
        file: file, threads: threads, progress: { progress.advance($0) }, isWanted: { filter.holds($0) })
    } catch {
      throw Failure(error, file: path)
    }
    if recovery.tensors.isEmpty, !isDirectoryLost { _ = try filter.indices(in: reader, file: path) }
  }

  /// A reader of what is left, by the file's own directory where that is sound.
  var reader: CheckpointReader { recovery.reader }

  /// Whether metadata and all else that only a directory tells are lost.
  var isDirectoryLost: Bool { recovery.isDirectoryLost }

  /// The tensors to write, numbers of the reader.
  var whole: [Int] { recovery.tensors.filter(\.isWhole).compactMap(\.number) }

  /// The tensors of which an element is lost.
  var lost: [Recovery.Tensor] { recovery.tensors.filter { !$0.isWhole } }

  /// The metadata; nil where they are lost.
  var metadata: JSONValue? { recovery.metadata }

  /// What was lost, in one line; nil where all was restored.
  func failure(of path: String) -> Failure? {
    guard !lost.isEmpty || metadata == nil else { return nil }
    let names = lost.isEmpty ? "no tensor that was found" : lost.map(Self.text).joined(separator: "; ")
    let rest =
      isDirectoryLost
      ? "; the directory, the metadata and what stood behind the damage are lost too"
      : metadata == nil ? "; the metadata are lost too" : ""
    return Failure("lost: \(names)\(rest)", file: path, status: .failed)
  }

  /// A tensor with its rows that are lost, both ends included: `'m' (rows 10-19, 30-39 of 100)`.
  private static func text(_ tensor: Recovery.Tensor) -> String {
    guard let count = tensor.shape.first else { return "'\(tensor.name)'" }
    let rows = tensor.lostRows.map { "\($0.lowerBound)-\($0.upperBound - 1)" }.joined(separator: ", ")
    return "'\(tensor.name)' (rows \(rows) of \(count))"
  }

  /// The tensors of which something is lost, as `--json` prints them.
  var lostJSON: JSONValue {
    .array(
      lost.map { tensor in
        .object([
          "name": .string(tensor.name), "dtype": .string(tensor.dtype.name),
          "shape": .array(tensor.shape.map { .count($0) }), "lost": .pairs(tensor.lost),
          "lost_rows": .pairs(tensor.lostRows),
        ])
      })
  }
}

extension JSONValue {
  /// Ranges as pairs of their first number and the one behind their last.
  static func pairs(_ ranges: [Range<UInt64>]) -> JSONValue {
    .array(ranges.map { .array([.count($0.lowerBound), .count($0.upperBound)]) })
  }
}
