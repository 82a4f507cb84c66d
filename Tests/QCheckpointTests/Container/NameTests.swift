import QCheckpoint
import QCodec
import Testing

@Suite("Names of tensors")
struct NameTests {
  private func refusal(_ name: String, by writer: CheckpointWriter) -> QCodecError? {
    inputError { try writer.add(name, bytes: [1]) }
  }

  @Test("1 byte to 64 KiB of UTF-8, counted in bytes")
  func lengths() throws {
    let longest = String(repeating: "n", count: 65_536)
    let accents = String(repeating: "é", count: 32_768)
    let file = try checkpoint {
      #expect(refusal("", by: $0)?.code == .invalidName)
      #expect(refusal(longest + "n", by: $0)?.code == .invalidName)
      #expect(refusal(accents + "n", by: $0)?.code == .invalidName)
      try $0.add("a", bytes: [1])
      try $0.add(longest, bytes: [2])
      try $0.add(accents, bytes: [3])
    }
    let reader = try opened(file)
    #expect(reader.tensorCount == 3)
    for (name, byte) in [("a", UInt8(1)), (longest, 2), (accents, 3)] {
      let index = try #require(reader.find(name))
      #expect(reader.tensor(index).name == name)
      #expect(try reader.bytes(ofTensor: index) == [byte])
    }
    #expect(reader.find("b") == nil && reader.find("") == nil && reader.find(longest + "n") == nil)
  }

  @Test("A name that was added before is refused, and the writer goes on")
  func duplicates() throws {
    let file = try checkpoint {
      try $0.add("a", bytes: [1])
      let error = refusal("a", by: $0)
      #expect(error?.code == .duplicateName)
      #expect(error?.tensor == "a")
      try $0.add("b", bytes: [2])
    }
    #expect(try opened(file).everything() == [[1], [2]])
  }

  @Test("Names are bytes: two normal forms of one text are two names, sorted by their bytes")
  func bytes() throws {
    let names = ["\u{E9}", "e\u{301}", "e", "Z", "\u{10000}", "\u{FFFD}", "a\0b", "a"]
    let file = try checkpoint { for (index, name) in names.enumerated() { try $0.add(name, bytes: [UInt8(index)]) } }
    let reader = try opened(file)
    let sorted = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    #expect((0..<reader.tensorCount).map { Array(reader.tensor($0).name.utf8) } == sorted.map { Array($0.utf8) })
    for (index, name) in names.enumerated() {
      let tensor = try #require(reader.find(name))
      #expect(try reader.bytes(ofTensor: tensor) == [UInt8(index)])
    }
  }
}
