import ArgumentParser
import QCheckpoint
import QCodec
import QVerify

/// `qcodec hash`: what tells tensors apart, for manifests and to find equal ones.
struct HashCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hash", abstract: "Print hashes of tensors and files, or check them against a manifest.",
    discussion: """
      A line for each file and one for each of its tensors: the hash of the values, two spaces, the hash of the bytes as \
      they are stored, two spaces, the file, and behind a tab the tensor. Hashes are XXH3-128 (Spec/Hashes.md). \
      Tensors of equal dtype, shape and values have equal hashes of values, in whatever kind of file and however they are \
      coded; '-' stands for the stored bytes of other files than checkpoints. Control characters and backslashes of names \
      are written as \\n, \\t, \\\\, \\u{…}.

      With --check files are manifests, which such output makes: every line is compared with what its file holds now, \
      and status 1 tells that any differs. With --tensor there are no lines of files.

      The hashes find damage and duplicates; they are no protection against forgery.

      EXAMPLES:
        qcodec hash optimizer.qckpt > manifest
        qcodec hash --check manifest
        qcodec hash a.safetensors b.qckpt --values
        qcodec hash *.qckpt --tensor 'exp_avg*' --values | sort | uniq -Dw 32
      """)

  @Argument(help: "Files of any kind that encode reads, or manifests; '-' is standard input.", completion: .file())
  var files: [String]

  @Flag(help: "Compare files with manifests.")
  var check = false

  @Option(name: .long, help: ArgumentHelp("Only tensors whose names match; may be repeated.", valueName: "glob"))
  var tensor: [String] = []

  @Flag(help: "Hash values alone: '-' stands for all stored bytes, and --check does not compare them.")
  var values = false

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "With --check print nothing but errors.")
  var quiet = false

  func validate() throws {
    if files.count(where: { $0 == "-" }) > 1 { throw ValidationError("standard input can be read once") }
    if check, !tensor.isEmpty { throw ValidationError("--tensor does not go with --check") }
    if quiet, !check { throw ValidationError("--quiet goes with --check") }
  }

  func run() throws {
    if check {
      return try HashCheck(manifests: files, values: values, threads: threads.count, json: json, quiet: quiet).run()
    }
    let filter = try TensorFilter(tensor)
    var documents: [JSONValue] = []
    for file in files {
      let document = try Inputs.document(file)
      let chosen = document.filter { filter.holds($0.name) }
      try filter.requireMatch(chosen.tensors, file: file)
      let hashes = try Self.hashes(of: chosen, file: file, stored: !values, threads: threads.count)
      if json {
        documents.append(self.json(hashes, of: document, file: file))
      } else {
        Terminal.print(lines: HashManifest(hashes, file: file, isWhole: tensor.isEmpty).lines)
      }
    }
    guard json else { return }
    let document = JSONValue.object(["algorithm": .string("XXH3-128"), "files": .array(documents)])
    Terminal.print(document.serialized(pretty: true))
  }

  /// The hashes of a document's tensors, with progress on a terminal.
  static func hashes(
    of document: InputDocument, file: String, stored: Bool, threads: Int
  ) throws -> DocumentHashes {
    let total = document.tensors.reduce(0) { $0 + $1.source.byteCount }
    let progress = Progress(total: total)
    defer { progress.finish() }
    return try concerning(file) {
      try DocumentHasher(document, stored: stored, threads: threads).hashes { progress.advance($0) }
    }
  }

  private func json(_ hashes: DocumentHashes, of document: InputDocument, file: String) -> JSONValue {
    .object([
      "file": .string(file), "kind": .string(document.kind),
      "values": tensor.isEmpty ? .string(hashes.values.description) : .null,
      "stored": .optional(tensor.isEmpty ? hashes.stored?.description : nil),
      "tensors": .array(
        hashes.tensors.map { tensor in
          .object([
            "name": .string(tensor.name), "dtype": .string(tensor.dtype.name),
            "shape": .array(tensor.shape.map { .count($0) }), "values": .string(tensor.values.description),
            "stored": .optional(tensor.stored?.description),
          ])
        }),
    ])
  }
}
