import QCodec
import Testing

@testable import QCheckpoint

@Suite("Names are found in the directory's own bytes")
struct LookupTests {
  /// Names that are prefixes of one another, differ late, and hold bytes above 127.
  private static let names: [String] = (0..<400).flatMap { index in
    [
      "layers.\(index)", "layers.\(index).weight", "layers.\(index).weight.exp_avg", "schicht.\(index).größe",
      "\(index)",
    ]
  }

  private func reader() throws -> CheckpointReader {
    let additions = Self.names.enumerated().map { index, name in
      Addition.tensor(
        NewTensor(
          name: name, dtype: .u8, encoding: .lossless(reason: .none),
          source: MemorySource(bytes: [UInt8](repeating: UInt8(index & 255), count: index % 5))),
        shape: [UInt64(index % 5)])
    }
    return try opened(try checkpoint { try $0.add(additions) })
  }

  @Test("Every name, and what its tensor holds")
  func all() throws {
    let reader = try reader()
    for (index, name) in Self.names.enumerated() {
      let found = try #require(reader.find(name))
      #expect(reader.tensor(found).name == name)
      #expect(reader.tensor(found).shape == [UInt64(index % 5)])
      #expect(try reader.bytes(ofTensor: found) == [UInt8](repeating: UInt8(index & 255), count: index % 5))
    }
    let sorted = Self.names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    #expect((0..<reader.tensorCount).map { reader.tensor($0).name } == sorted)
  }

  @Test("What is no name: prefixes, continuations, neighbours, nothing")
  func missing() throws {
    let reader = try reader()
    let present = Set(Self.names)
    for name in Self.names {
      for other in [String(name.dropLast()), name + "0", name + "\0", String(name.dropFirst()), name.uppercased()]
      where !present.contains(other) {
        #expect(reader.find(other) == nil, "\(other)")
      }
    }
    #expect(reader.find("") == nil)
    #expect(reader.find("\u{10FFFF}") == nil)
    #expect(reader.find(String(repeating: "x", count: 100_000)) == nil)
  }

  @Test("In a checkpoint without tensors")
  func empty() throws {
    let reader = try opened(try checkpoint { _ in })
    #expect(reader.tensorCount == 0 && reader.chunkCount == 0)
    #expect(reader.find("layers.0") == nil)
  }
}
