import QCheckpoint
import QCodec
import Testing

@Suite("Files that people take for checkpoints")
struct ForeignFileTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    let kind: ForeignFile
    let bytes: [UInt8]
    let word: String
    var testDescription: String { "\(kind)" }
  }

  static let kinds: [Kind] = [
    .init(kind: .safetensors, bytes: safetensors(#"{"a":1}"#), word: "safetensors"),
    .init(kind: .numpy, bytes: [0x93] + Array("NUMPY".utf8) + [1, 0], word: ".npy"),
    .init(kind: .zip, bytes: [0x50, 0x4B, 3, 4, 20, 0], word: "npz"),
    .init(
      kind: .torch,
      bytes: [0x50, 0x4B, 3, 4] + [UInt8](repeating: 0, count: 22) + [13, 0, 0, 0] + Array("good/data.pkl".utf8),
      word: "torch.save"),
    .init(kind: .zip, bytes: [0x50, 0x4B, 5, 6] + [UInt8](repeating: 0, count: 18), word: "zip"),
    .init(kind: .pickle, bytes: [0x80, 2, 0x7D], word: "pickle"),
    .init(kind: .pickle, bytes: [0x80, 5, 0x95], word: "pickle"),
    .init(kind: .gguf, bytes: Array("GGUF".utf8) + [3, 0, 0, 0], word: "GGUF"),
    .init(kind: .gzip, bytes: [0x1F, 0x8B, 8], word: "gzip"),
    .init(kind: .zstd, bytes: [0x28, 0xB5, 0x2F, 0xFD], word: "zstd"),
    .init(kind: .hdf5, bytes: [0x89] + Array("HDF\r\n".utf8) + [0x1A, 0x0A], word: "HDF5"),
    .init(
      kind: .gitLFSPointer, bytes: Array("version https://git-lfs.github.com/spec/v1\noid".utf8), word: "git lfs pull"),
    .init(kind: .html, bytes: Array("\n <!DOCTYPE html>".utf8), word: "HTML"),
    .init(kind: .json, bytes: Array(" {\"a\": 1}".utf8), word: "JSON"),
  ]

  @Test("Each kind is identified and named in the error", arguments: kinds)
  func named(_ kind: Kind) throws {
    #expect(ForeignFile.identify(kind.bytes) == kind.kind)
    for padding in [0, 300] {
      let error = inputError { _ = try opened(kind.bytes + [UInt8](repeating: 0, count: padding)) }
      #expect(error?.code == .notACheckpoint)
      #expect(error?.offset == 0)
      #expect(error?.message.contains(kind.word) == true, "\(error?.message ?? "opened")")
    }
  }

  @Test("What is none of them")
  func unknown() {
    for bytes in [[], [0x50], [0x1F], [0x80], [0x80, 6], [1, 2, 3], Array("PKG".utf8), noise(300, seed: 71)] {
      #expect(ForeignFile.identify(bytes) == nil, "\(bytes.prefix(8))")
      #expect(inputError { _ = try opened(bytes) }?.code == .notACheckpoint)
    }
  }

  @Test("A magic number damaged by a copy in text mode, or cut")
  func textMode() throws {
    let file = try checkpoint { try $0.add("a", bytes: [1]) }
    let damaged = [
      // CR LF to LF, LF to CR LF, the high bit stripped.
      Array(file[..<4]) + file[5...], Array(file[..<5]) + [0x0D] + file[5...], [file[0] & 0x7F] + file[1...],
    ]
    for bytes in damaged {
      let error = inputError { _ = try opened(bytes) }
      #expect(error?.code == .notACheckpoint)
      #expect(error?.message.contains("text mode") == true)
    }
    for length in 1..<8 { #expect(inputError { _ = try opened(Array(file[..<length])) }?.code == .truncated) }
  }

  @Test("Paths that are no file")
  func paths() throws {
    let folder = try InputFolder()
    #expect(inputError { _ = try CheckpointReader(path: folder.path("missing")) }?.code == .io)
    #expect(inputError { _ = try CheckpointReader(path: folder.path("")) }?.code == .io)
    #expect(inputError { _ = try CheckpointReader(path: "/dev/null") }?.code == .io)
  }
}
