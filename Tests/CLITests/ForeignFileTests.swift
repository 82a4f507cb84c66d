import Testing

/// Status 3 for what is no checkpoint: it is named, and what to do is said.
@Suite struct ForeignFileTests {
  private struct Kind {
    let name: String
    let bytes: [UInt8]
    let description: String
    /// What `encode` says; nil where it says more than that the file is such a file.
    var refusal: String?
  }

  private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

  private static let kinds = [
    Kind(
      name: "pickle", bytes: [0x80, 4, 0x95] + text("torch"),
      description: "a Python pickle, which is never loaded here; a file of torch.save is converted by "
        + "'python -m qcodec convert'"),
    Kind(name: "gguf", bytes: text("GGUF\u{3}\0\0\0"), description: "a GGUF model"),
    Kind(name: "gzip", bytes: [0x1F, 0x8B, 8, 0], description: "gzip data; decompress it first"),
    Kind(name: "zstd", bytes: [0x28, 0xB5, 0x2F, 0xFD, 4, 0], description: "zstd data; decompress it first"),
    Kind(name: "hdf5", bytes: [0x89] + text("HDF\r\n\u{1A}\n"), description: "an HDF5 file"),
    Kind(
      name: "pointer", bytes: text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
      description: "a Git LFS pointer, not the file itself; run 'git lfs pull'"),
    Kind(
      name: "html", bytes: text("\n<!DOCTYPE html><html></html>"),
      description: "an HTML page; was the download refused?"),
    Kind(
      name: "json", bytes: text(" {\"a\": 1}\n"),
      description: "a JSON document; a model.safetensors.index.json is compressed with 'qcodec encode'",
      refusal: "the file is a JSON document without the weight_map of a safetensors index"),
    Kind(
      name: "torch", bytes: zip([(name: "archive/data.pkl", bytes: [0x80, 2])]),
      description: "a torch.save archive, whose pickle is never loaded here; use 'python -m qcodec convert'"),
    Kind(
      name: "zip", bytes: zip([(name: "notes.txt", bytes: [0x41])]),
      description: "a zip archive; an .npz of numpy.savez is compressed with 'qcodec encode'",
      refusal: "a zip archive that is no .npz: its member 'notes.txt' is no .npy array (byte 39)"),
  ]

  @Test func eachKindIsNamed() throws {
    let work = try Workspace()
    for kind in Self.kinds {
      try work.write(kind.bytes, kind.name)
      let line = "\(kind.name): not a qcodec checkpoint but \(kind.description) (byte 0)"
      try work.fail(["inspect", kind.name], 3, line)
      try work.fail(["verify", kind.name], 3, line)
      try work.fail(["decode", kind.name, "-o", "out"], 3, line)
      let refusal = kind.refusal ?? "the file is \(kind.description) (byte 0)"
      try work.fail(["encode", kind.name, "-o", "out"], 3, "\(kind.name): \(refusal)")
    }
  }

  @Test func whatEncodeReadsIsSentThere() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in.safetensors")
    try work.write(npy([1], shape: "(1,)"), "in.npy")
    for (name, kind) in [("in.safetensors", "a safetensors file"), ("in.npy", "a NumPy .npy file")] {
      let line = "\(name): not a qcodec checkpoint but \(kind); compress it with 'qcodec encode' (byte 0)"
      try work.fail(["inspect", name], 3, line)
      try work.fail(["verify", name, "--against", name], 3, line)
      try work.fail(["decode", name, "-o", "out"], 3, line)
      try work.succeed(["encode", name, "-o", "s.qckpt"])
    }
  }

  @Test func anOriginalIsNamedAsItself() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])]), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    for kind in Self.kinds {
      try work.write(kind.bytes, kind.name)
      let refusal = kind.refusal ?? "the file is \(kind.description) (byte 0)"
      try work.fail(["verify", "s.qckpt", "--against", kind.name], 3, "\(kind.name): \(refusal)")
    }
  }

  @Test func theRestIsSaidToBeUnknown() throws {
    let work = try Workspace()
    for (name, bytes) in [("text", Self.text("hello, world\n")), ("zeros", [UInt8](repeating: 0, count: 4096))] {
      try work.write(bytes, name)
      try work.fail(["inspect", name], 3, "\(name): not a qcodec checkpoint (byte 0)")
      try work.fail(
        ["encode", name, "-o", "out"], 3,
        "\(name): the file is none of safetensors, safetensors index, .npy, .npz and .qckpt (byte 0)")
    }
    try work.write([], "empty")
    for arguments in [["inspect", "empty"], ["decode", "empty", "-o", "out"], ["encode", "empty", "-o", "out"]] {
      try work.fail(arguments, 3, "empty: the file is empty (byte 0)")
    }
    try work.fail(["inspect", "-"], 3, "-: the file is empty (byte 0)")
  }
}
