import Foundation
import QCheckpoint
import QCodec
import Testing

@Suite struct SafetensorsFileTests {
  private let folder: InputFolder

  init() throws { folder = try InputFolder() }

  private func open(_ bytes: [UInt8]) throws -> SafetensorsFile { try SafetensorsFile(path: folder.write(bytes)) }

  private func refusal(_ bytes: [UInt8]) -> QCodecError? { inputError { _ = try open(bytes) } }

  private func entry(_ name: String, _ dtype: String, _ shape: String, _ begin: Int, _ end: Int) -> String {
    #""\#(name)":{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}"#
  }

  @Test func tensorsComeInTheOrderOfTheirBytes() throws {
    let header =
      "{" + entry("b", "F32", "[2]", 2, 10) + #","__metadata__":{"format":"pt","é":"ü"},"#
      + entry("a", "BF16", "[1,1]", 0, 2) + "," + entry("empty", "F64", "[0,3]", 10, 10) + ","
      + entry("s", "I8", "[]", 10, 11)
      + "}    "
    let file = try open(safetensors(header, data: Array(0..<11)))
    #expect(file.entries.map(\.name) == ["a", "b", "empty", "s"])
    #expect(file.entries.map(\.dtype) == [.bf16, .f32, .f64, .i8])
    #expect(file.entries.map(\.shape) == [[1, 1], [2], [0, 3], []])
    #expect(file.metadata == ["format": "pt", "é": "ü"])
    #expect(try file.entries.map { try inputBytes(file.source(of: $0)) } == [[0, 1], Array(2..<10), [], [10]])
  }

  @Test func aFileWithoutTensorsIsRead() throws {
    #expect(try open(safetensors("{}")).entries.isEmpty)
    #expect(try open(safetensors(#"{"__metadata__":{}}"#)).metadata.isEmpty)
  }

  @Test func everyDtypeOfTheFormatIsRead() throws {
    for dtype in DType.allCases where dtype != .c128 {
      let header = "{" + entry("x", dtype.name, "[4]", 0, dtype.bitWidth / 2) + "}"
      let file = try open(safetensors(header, data: Array(repeating: 0, count: dtype.bitWidth / 2)))
      #expect(file.entries[0].dtype == dtype)
    }
    #expect(
      refusal(safetensors("{" + entry("x", "C128", "[1]", 0, 16) + "}", data: Array(repeating: 0, count: 16))) != nil)
  }

  @Test func namesThatDifferInNormalisationAloneAreTwoNames() throws {
    let header = "{" + entry("\u{E9}", "U8", "[1]", 0, 1) + "," + entry("e\u{301}", "U8", "[1]", 1, 2) + "}"
    #expect(try open(safetensors(header, data: [1, 2])).entries.count == 2)
  }

  // MARK: The file

  @Test(
    arguments: [
      ([], 0), ([1, 2, 3], 3), (littleEndian(UInt64(0)), 8), (littleEndian(UInt64(3)) + Array("{}".utf8), 0),
      (littleEndian(UInt64.max) + Array("{}".utf8), 0), (littleEndian(UInt64(100_000_001)) + Array("{}".utf8), 0),
      (safetensors(" {}"), 8), (safetensors("[]"), 8), (safetensors("{"), 9), (safetensors("{}x"), 10),
      (safetensors("{}\0"), 10), (safetensors("{}", data: [0]), 10),
    ] as [([UInt8], UInt64)])
  func damagedFramesAreRefusedAtTheirByte(bytes: [UInt8], offset: UInt64) {
    let error = refusal(bytes)
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.offset == offset)
  }

  @Test func everyTruncationIsRefused() throws {
    let bytes = safetensors("{" + entry("a", "F32", "[2]", 0, 8) + "}", data: Array(0..<8))
    _ = try open(bytes)
    for count in 0..<bytes.count {
      let error = refusal(Array(bytes[..<count]))
      #expect(error?.code == .invalidSafetensors, "\(count) bytes")
      #expect(error?.offset != nil)
    }
  }

  @Test func everyChangedHeaderByteIsReadOrRefused() throws {
    let bytes = safetensors(
      #"{"__metadata__":{"k":"v"},"# + entry("a", "F32", "[2]", 0, 8) + "}", data: Array(0..<8))
    for index in 0..<bytes.count - 8 {
      for byte in [0x00, 0x20, 0x22, 0x2C, 0x30, 0x39, 0x5C, 0x5D, 0x7B, 0x80, 0xFF] as [UInt8] {
        var changed = bytes
        changed[index] = byte
        let error = refusal(changed)
        #expect(error == nil || error?.code == .invalidSafetensors)
      }
    }
  }

  // MARK: The header

  @Test(arguments: [
    // What a tensor lacks, repeats or adds.
    (#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, 1), (#"{"a":{"dtype":"U8","data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1]}}"#, 1), (#"{"a":1}"#, 1), (#"{"a":{}}"#, 1),
    (#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}}"#, 1),
    // Values of the wrong kind.
    (#"{"a":{"dtype":"u8","shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#, 1),
    // Sizes that contradict dtype and shape, or overflow.
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
    (#"{"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}"#, 0),
    (#"{"a":{"dtype":"F64","shape":[9223372036854775807],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}}"#, 1),
    // Holes, overlaps and bytes outside.
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2),
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, 3),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#, 3),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
    (#"{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}"#, 1),
  ])
  func tensorsThatContradictThemselvesAreRefusedByName(header: String, data: Int) {
    let error = refusal(safetensors(header, data: Array(repeating: 0, count: data)))
    #expect(error?.code == .invalidSafetensors, "\(header)")
    #expect(error?.offset.map { $0 >= 8 } == true)
    #expect(error?.tensor == "a" || error?.tensor == "b", "\(header)")
  }

  @Test func duplicateNamesAreRefusedAtTheSecond() {
    let header = "{" + entry("a", "U8", "[1]", 0, 1) + "," + entry("a", "U8", "[1]", 1, 2) + "}"
    let error = refusal(safetensors(header, data: [0, 0]))
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.tensor == "a")
    #expect(error?.offset == UInt64(8 + 2 + entry("a", "U8", "[1]", 0, 1).utf8.count))
    let escaped = "{" + entry("a", "U8", "[1]", 0, 1) + "," + entry(#"\u0061"#, "U8", "[1]", 1, 2) + "}"
    #expect(refusal(safetensors(escaped, data: [0, 0]))?.code == .invalidSafetensors)
  }

  @Test(arguments: [
    #"{"__metadata__":1}"#, #"{"__metadata__":{"a":1}}"#, #"{"__metadata__":{"a":null}}"#,
    #"{"__metadata__":{"a":"x","a":"y"}}"#, #"{"__metadata__":{},"__metadata__":{}}"#,
    #"{"__metadata__":{"a":{"b":"c"}}}"#,
  ])
  func metadataOtherThanStringsIsRefused(header: String) {
    let error = refusal(safetensors(header))
    #expect(error?.code == .invalidSafetensors)
    #expect(error?.offset != nil)
  }

  @Test func aHundredThousandTensorsAreRead() throws {
    let header = "{" + (0..<100_000).map { entry("t\($0)", "U8", "[0]", 0, 0) }.joined(separator: ",") + "}"
    #expect(try open(safetensors(header)).entries.count == 100_000)
  }
}
