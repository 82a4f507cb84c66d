import QCheckpoint
import QCodec
import QVerify

/// What `inspect` says of a checkpoint whose directory cannot be read.
struct SalvageSummary {
  private let tensors: [Salvage.Tensor]

  /// The tensors of a damaged file that the filter lets through; none where nothing can be found.
  init(_ file: InputFile, filter: TensorFilter, bases: [CheckpointReader]) {
    tensors = ((try? Salvage(file: file, bases: bases))?.tensors ?? []).filter { filter.holds($0.name) }
  }

  /// One line a tensor, under headings; nothing where there is none.
  func lines() -> [String] {
    guard !tensors.isEmpty else { return [] }
    var table = TextTable(["tensor", "dtype", "shape", "stored as", "elements"])
    for tensor in tensors {
      let lost = tensor.lost.map { "\($0.lowerBound)-\($0.upperBound - 1)" }.joined(separator: ", ")
      table.add([
        tensor.name, tensor.dtype.name, Describe.shape(tensor.shape), Describe.stored(tensor.scheme, .none),
        tensor.isWhole ? "whole" : "lost \(lost)",
      ])
    }
    return table.lines(width: Terminal.width, leading: 5)
  }

  /// The document of `--json`.
  var json: JSONValue {
    .object([
      "salvageable": .array(
        tensors.map { tensor in
          var members = CheckpointSummary.members(of: tensor.scheme)
          members["name"] = .string(tensor.name)
          members["dtype"] = .string(tensor.dtype.name)
          members["shape"] = .array(tensor.shape.map { .count($0) })
          members["whole"] = .bool(tensor.isWhole)
          members["lost"] = .pairs(tensor.lost)
          members["lost_rows"] = .pairs(tensor.lostRows)
          return .object(members)
        })
    ])
  }
}

extension QCodecError {
  /// Whether the file may hold tensors all the same: its end or its directory is what is wrong.
  var leavesTensorsToSalvage: Bool {
    [.truncated, .headerCorrupt, .trailerCorrupt, .directoryCorrupt].contains(code)
  }
}
