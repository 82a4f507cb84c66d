import QCheckpoint
import QCodec
import Testing

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

@Suite struct OpenInputTests {
  private let folder: InputFolder

  init() throws { folder = try InputFolder() }

  private func refusal(_ bytes: [UInt8], _ name: String = "file") -> QCodecError? {
    inputError { _ = try openInput(path: folder.write(bytes, name)) }
  }

  private let oneByte = safetensors(
    #"{"__metadata__":{"k":"v"},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, data: [7])

  @Test func formatsAreKnownByContentWhateverTheName() throws {
    let tensors = try openInput(path: folder.write(oneByte, "weights.bin"))
    #expect(tensors.kind == "safetensors")
    #expect(tensors.metadata == ["k": "v"])
    #expect(tensors.tensors.map(\.name) == ["x"])
    #expect(try inputBytes(tensors.tensors[0].source) == [7])
    #expect(tensors.files == [try #require(FileIdentity(path: folder.path("weights.bin")))])

    let array = try openInput(path: folder.write(NumpyFixtures.npy("|u1", "(2,)", data: [1, 2]), "exp_avg.npy"))
    #expect(array.tensors.map(\.name) == ["exp_avg"])
    #expect(array.kind == "NumPy array")
    #expect(try inputBytes(array.tensors[0].source) == [1, 2])

    let archive = try openInput(path: folder.write(NumpyFixtures.deflated, "x.safetensors"))
    #expect(archive.tensors.map(\.name) == ["exp_avg/w", "step"])
    #expect(archive.kind == "NumPy archive")
  }

  @Test func anArrayWithoutAStemHasAName() throws {
    let document = try openInput(path: folder.write(NumpyFixtures.npy("|u1", "()", data: [1]), ".npy"))
    #expect(document.tensors.map(\.name) == ["array"])
  }

  @Test func checkpointsAreReadDecoded() throws {
    let values = (0..<5000).map { Float($0 % 17) / 16 }
    let writer = try CheckpointWriter(path: folder.path("c.qckpt"), options: .init(threads: 1))
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .row)
    try writer.add(
      name: "m", dtype: .f32, shape: [50, 100], encoding: .quantized(scheme), source: MemorySource(values))
    try writer.add(
      name: "a", dtype: .u8, shape: [3], encoding: .lossless(reason: .none), source: MemorySource(bytes: [1, 2, 3]))
    try writer.setMetadata(.object(["metadata": .object(["step": .string("5")])]))
    _ = try writer.finish()
    let document = try openInput(path: folder.path("c.qckpt"))
    #expect(document.tensors.map(\.name) == ["a", "m"])
    #expect(document.metadata == ["step": "5"])
    #expect(document.kind == "qcodec checkpoint")
    #expect(try inputBytes(document.tensors[0].source) == [1, 2, 3])
    let decoded = try CheckpointReader(path: folder.path("c.qckpt")).bytes(ofTensor: 1)
    #expect(try inputBytes(document.tensors[1].source) == decoded)
    #expect(try inputBytes(document.tensors[1].source, at: 4000, count: 400) == Array(decoded[4000..<4400]))
  }

  @Test(
    arguments: [
      (Array("GGUF".utf8) + [3, 0, 0, 0], "GGUF"), ([0x1F, 0x8B, 8, 0], "gzip"), ([0x28, 0xB5, 0x2F, 0xFD], "zstd"),
      ([0x80, 2, 0x7D], "pickle"), ([0x89] + Array("HDF\r\n".utf8) + [0x1A, 0x0A], "HDF5"),
      (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
      (Array("<!DOCTYPE html><html>".utf8), "HTML"), (Array(#"{"a": 1}"#.utf8), "weight_map"), ([], "empty"),
      ([1, 2, 3], "none of"),
    ] as [([UInt8], String)])
  func foreignFilesAreNamed(bytes: [UInt8], word: String) {
    let error = refusal(bytes)
    #expect(error?.code == .notACheckpoint)
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "accepted")")
  }

  @Test func torchArchivesAreNamed() {
    let error = refusal(ZipFixture.archive([ZipFixture(name: "archive/data.pkl", data: [0x80, 2])]))
    #expect(error?.code == .notACheckpoint)
    #expect(error?.message.contains("torch.save") == true)
  }

  @Test func aDamagedFileSaysWhatIsWrongWithIt() {
    #expect(refusal(Array(oneByte.dropLast()))?.code == .invalidSafetensors)
    #expect(refusal([1, 2, 3], "x.safetensors")?.code == .invalidSafetensors)
    #expect(refusal([], "x.safetensors")?.code == .invalidSafetensors)
    #expect(refusal(Array(NumpyFixtures.stored.dropLast()))?.code == .invalidNumpy)
    #expect(refusal(Array(NumpyFixtures.npy("|u1", "(2,)", data: [1])))?.code == .invalidNumpy)
    #expect(refusal(Array(#"{"weight_map": "#.utf8))?.code == .invalidJSON)
    #expect(refusal([0x89, 0x51, 0x43, 0x4B, 0x0D, 0x0A, 0x1A, 0x0A])?.code == .truncated)
  }

  @Test func whatIsNoFileIsASystemError() {
    #expect(inputError { _ = try openInput(path: folder.path("missing")) }?.code == .io)
    #expect(inputError { _ = try openInput(path: folder.path("")) }?.code == .io)
  }

  @Test func aPipeWithoutAnotherEndIsRefusedAtOnce() throws {
    let folder = try InputFolder()
    let status = unsafe mkfifo(folder.path("pipe"), 0o600)
    #expect(status == 0)
    let error = inputError { _ = try InputFile(path: folder.path("pipe")) }
    #expect(error == QCodecError(.io, "not a regular file"))
  }
}
