import QCheckpoint
import QCodec
import QVerify

/// `qcodec hash --check`: whether files hold what a manifest says.
struct HashCheck {
  let manifests: [String]
  /// Whether values alone are compared.
  let values: Bool
  let threads: Int
  let json: Bool
  let quiet: Bool

  /// A line of a manifest that the file does not agree with.
  private struct Mismatch {
    let entry: HashManifest.Entry
    let isStored: Bool
    let expected: Hash128
    let got: Hash128?

    var failure: Failure {
      let place = entry.tensor.map { " (tensor '\($0)')" } ?? ""
      guard entry.tensor == nil || got != nil || isStored else {
        return Failure("the tensor of the manifest is not there\(place)", file: entry.file, status: .failed)
      }
      let what = isStored ? "the stored bytes are" : entry.tensor == nil ? "the tensors are" : "the values are"
      return Failure("\(what) not those of the manifest\(place)", file: entry.file, status: .failed)
    }

    var json: JSONValue {
      .object([
        "file": .string(entry.file), "tensor": .optional(entry.tensor), "hash": .string(isStored ? "stored" : "values"),
        "expected": .string(expected.description), "got": .optional(got?.description),
      ])
    }
  }

  func run() throws {
    var mismatches: [Mismatch] = []
    var checked = 0
    for manifest in manifests {
      let input = try Inputs.file(manifest)
      let bytes = try concerning(manifest) { try Self.contents(of: input) }
      for (file, entries) in Self.byFile(try HashManifest(parsing: bytes, path: manifest).entries) {
        let found = try check(entries, file: file)
        mismatches += found
        checked += entries.count
        if found.isEmpty, !quiet, !json {
          let lines = entries.count == 1 ? "1 line" : "\(entries.count) lines"
          Terminal.print("\(file.escapingControls): ok, \(lines)")
        }
      }
    }
    if json {
      let document = JSONValue.object([
        "ok": .bool(mismatches.isEmpty), "checked": .count(checked), "mismatches": .array(mismatches.map(\.json)),
      ])
      Terminal.print(document.serialized(pretty: true))
    }
    for mismatch in mismatches.dropLast() { Terminal.error(mismatch.failure.line) }
    if let last = mismatches.last { throw last.failure }
  }

  /// The most bytes that are taken for a manifest: some ten million lines.
  private static let greatest: UInt64 = 1 << 30

  private static func contents(of file: InputFile) throws(QCodecError) -> [UInt8] {
    // What takes memory is not taken on trust.
    guard file.byteCount <= greatest else { throw QCodecError(.limitExceeded, "the manifest is longer than 1 GiB") }
    return try file.bytes(at: 0, count: Int(file.byteCount))
  }

  /// The entries of each file, files in the order of their first lines.
  private static func byFile(_ entries: [HashManifest.Entry]) -> [(file: String, entries: [HashManifest.Entry])] {
    var places: [[UInt8]: Int] = [:]
    var result: [(file: String, entries: [HashManifest.Entry])] = []
    for entry in entries {
      let key = Array(entry.file.utf8)
      if let place = places[key] {
        result[place].entries.append(entry)
      } else {
        places[key] = result.count
        result.append((entry.file, [entry]))
      }
    }
    return result
  }

  // MARK: One file

  private func check(_ entries: [HashManifest.Entry], file: String) throws -> [Mismatch] {
    let names = Set(entries.compactMap { $0.tensor.map { Array($0.utf8) } })
    let isWhole = entries.contains { $0.tensor == nil }
    let document = try Inputs.document(file).filter { isWhole || names.contains(Array($0.name.utf8)) }
    let stored = !values && entries.contains { $0.stored != nil }
    let hashes = try HashCommand.hashes(of: document, file: file, stored: stored, threads: threads)
    let tensors = Dictionary(hashes.tensors.map { (Array($0.name.utf8), $0) }) { first, _ in first }
    return entries.flatMap { entry in
      let tensor = entry.tensor.map { tensors[Array($0.utf8)] }
      let found = (
        values: tensor.map { $0?.values } ?? hashes.values, stored: tensor.map { $0?.stored } ?? hashes.stored
      )
      return mismatches(entry, values: found.values, stored: found.stored)
    }
  }

  private func mismatches(_ entry: HashManifest.Entry, values own: Hash128?, stored: Hash128?) -> [Mismatch] {
    var result: [Mismatch] = []
    if own != entry.values {
      result.append(Mismatch(entry: entry, isStored: false, expected: entry.values, got: own))
    }
    // Of a tensor that is not there it was said.
    if !values, own != nil, let expected = entry.stored, stored != expected {
      result.append(Mismatch(entry: entry, isStored: true, expected: expected, got: stored))
    }
    return result
  }
}
