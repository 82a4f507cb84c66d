import QCheckpoint
import QCodec

/// The defects of a checkpoint's bytes, each with the tensor, chunk and rows that it costs, as `verify` tells them.
struct DamageList {
  private let file: String
  private let items: [Damage]

  /// All that is wrong with an open checkpoint; `error` is what verification ended with.
  ///
  /// nil where that is no defect of the file, but the system's for instance. Throws `cancelled` alone.
  init?(of error: QCodecError, in reader: CheckpointReader, file: String, threads: Int) throws(QCodecError) {
    switch error.code {
    case .metadataCorrupt, .chunkCorrupt, .paddingNotZero, .leadCorrupt, .decompressionFailed, .invalidScale,
      .invalidCode:
      items = try reader.damage(threads: threads)
      self.file = file
      // Damage that comes and goes is the system's.
      if items.isEmpty { return nil }
    default: return nil
    }
  }

  /// One failure for each.
  var failures: [Failure] { items.map { Failure($0.error, file: file) } }

  /// One line for each, without the file.
  var lines: [String] { items.map { $0.error.description } }

  /// The list as `--json` prints it.
  var json: JSONValue {
    .array(
      items.map { item in
        let place = item.error
        return .object([
          "code": .string("\(place.code)"), "error": .string(place.message),
          "tensor": place.tensor.map { .string($0) } ?? .null, "offset": place.offset.map { .count($0) } ?? .null,
          "chunk": item.chunk.map { .count($0) } ?? .null,
          "lost": .pairs(item.elements.isEmpty ? [] : [item.elements]),
          "lost_rows": .pairs(item.rows.map { [$0] } ?? []),
        ])
      })
  }
}
