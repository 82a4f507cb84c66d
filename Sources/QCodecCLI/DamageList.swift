import QCheckpoint
import QCodec
import QVerify

/// The defects of a checkpoint's bytes, each with the tensor, chunk and rows that it costs, as `verify` tells them.
struct DamageList: Error {
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

  /// Verifies a checkpoint: what was found, or the damage that reading it met; throws a `Failure` where it is not the file
  /// that is to blame.
  static func verify(
    _ reader: CheckpointReader, by verifier: Verifier, against original: InputDocument?, file: String,
    faults: ReadFaults,
    progress: Progress, threads: Int
  ) throws -> Result<VerificationReport, DamageList> {
    do throws(QCodecError) {
      return .success(try verifier.verify(against: original) { progress.advance($0) })
    } catch {
      progress.finish()
      guard faults.file == nil, let damage = try DamageList(of: error, in: reader, file: file, threads: threads) else {
        throw Failure(error, file: faults.file ?? file)
      }
      return .failure(damage)
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
