import QCheckpoint
import QCodec
import Testing

@Suite struct SafetensorsIndexTests {
  private let folder: InputFolder

  init() throws {
    folder = try InputFolder()
    _ = try folder.write(shard("a", 1, metadata: #""format":"pt","part":"1""#), "s1.safetensors")
    _ = try folder.write(shard("b", 2, metadata: #""format":"pt","part":"2""#), "s2.safetensors")
  }

  private func shard(_ name: String, _ value: UInt8, metadata: String = "") -> [UInt8] {
    safetensors(
      #"{"__metadata__":{\#(metadata)},"\#(name)":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, data: [value])
  }

  private func open(_ index: String) throws -> InputDocument {
    try openInput(path: folder.write(Array(index.utf8), "model.safetensors.index.json"))
  }

  private func refusal(_ index: String) -> QCodecError? { inputError { _ = try open(index) } }

  @Test func shardsAreReadAsOneDocument() throws {
    let document = try open(
      #"{"metadata":{"total_size":2,"note":"n"},"weight_map":{"b":"s2.safetensors","a":"s1.safetensors"}}"#)
    #expect(document.tensors.map(\.name) == ["a", "b"])
    #expect(try document.tensors.map { try inputBytes($0.source) } == [[1], [2]])
    #expect(
      document.metadata == [
        "total_size": "2", "note": "n", "format": "pt", "s1.safetensors/part": "1", "s2.safetensors/part": "2",
      ])
    #expect(document.kind == "safetensors index of 2 shards")
    #expect(document.files.count == 3)
  }

  @Test(arguments: [
    "../s1.safetensors", "/etc/passwd", "sub/s1.safetensors", "", ".", "..", "..\\s1.safetensors", "a\\u0000b",
  ])
  func shardsElsewhereAreNotFollowed(path: String) {
    let escaped = path.contains("u0000") ? path : path.replacing("\\", with: "\\\\")
    let error = refusal(#"{"weight_map":{"a":"\#(escaped)"}}"#)
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.tensor == "a")
  }

  @Test func aMissingShardIsNamed() {
    let error = refusal(#"{"weight_map":{"a":"s1.safetensors","c":"s3.safetensors"}}"#)
    #expect(error?.code == .io)
    #expect(error?.message.contains("s3.safetensors") == true)
  }

  @Test func aTensorThatItsShardLacksIsRefused() {
    let error = refusal(#"{"weight_map":{"a":"s1.safetensors","c":"s1.safetensors"}}"#)
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.tensor == "c")
    #expect(refusal(#"{"weight_map":{"a":"s2.safetensors","b":"s1.safetensors"}}"#)?.code == .invalidSafetensors)
  }

  @Test func aTensorInTwoShardsIsRefused() throws {
    _ = try folder.write(shard("a", 3), "s2.safetensors")
    let error = refusal(#"{"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}}"#)
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.tensor == "a")
  }

  @Test func aTensorThatTheIndexOmitsIsRefused() throws {
    _ = try folder.write(
      safetensors(
        #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}"#,
        data: [0]), "s1.safetensors")
    let error = refusal(#"{"weight_map":{"a":"s1.safetensors"}}"#)
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.tensor == "z")
  }

  @Test(arguments: [
    #"{"weight_map":[]}"#, #"{"weight_map":{"a":1}}"#, #"{"weight_map":{"a":"s1.safetensors"},"metadata":[]}"#,
  ])
  func malformedIndicesAreRefused(index: String) {
    #expect(refusal(index)?.code == .invalidSafetensors)
  }

  @Test func invalidJSONIsRefusedAtItsByte() {
    let error = refusal(#"{"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}}"#)
    #expect(error?.code == .invalidJSON)
    #expect(error?.offset == 36)
  }

  @Test func aDamagedShardIsNamed() throws {
    _ = try folder.write([1, 2, 3], "s1.safetensors")
    let error = refusal(#"{"weight_map":{"a":"s1.safetensors"}}"#)
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.message.contains("s1.safetensors") == true)
  }
}
