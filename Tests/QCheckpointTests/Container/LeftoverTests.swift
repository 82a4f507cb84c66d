import Foundation
import QCodec
import Testing

@testable import QCheckpoint

@Suite("What killed writers left behind goes with the next; what is being written stays")
struct LeftoverTests {
  private let folder: InputFolder

  init() throws { folder = try InputFolder() }

  private func begun(_ name: String = "c.qckpt") throws -> CheckpointWriter {
    let writer = try CheckpointWriter(path: folder.path(name), options: .init(compression: .none, threads: 2))
    try writer.add("a", bytes: [UInt8](repeating: 81, count: 2 << 20))
    return writer
  }

  private func complete(_ name: String = "c.qckpt") throws { _ = try begun(name).finish() }

  /// Names of temporaries that a killed writer to a target would leave: an unlocked file each.
  private func leave(_ count: Int, besides name: String) throws -> [String] {
    let writer = try begun(name)
    let path = try #require(writer.temporaryPath)
    writer.abort()
    let name = try #require(path.split(separator: "/").last)
    let prefix = name.dropLast(16 + ".qcodec-partial".count)
    return try (0..<count).map { number in
      let digits = String(number, radix: 16)
      let name = "\(prefix)\(String(repeating: "0", count: 16 - digits.count))\(digits).qcodec-partial"
      _ = try folder.write([7], name)
      return name
    }
  }

  @Test(
    "All of them, of any target's name",
    arguments: ["c.qckpt", ".hidden", "é", "a.b.c", String(repeating: "n", count: 255)])
  func leftovers(name: String) throws {
    #expect(try leave(300, besides: name).count == 300)
    try complete(name)
    #expect(try folder.names == [name])
    #expect(try opened(folder.read(name)).tensorCount == 1)
  }

  @Test("Even where the next writer comes to nothing")
  func abandoned() throws {
    _ = try leave(3, besides: "c.qckpt")
    try begun().abort()
    #expect(try folder.names == [])
  }

  @Test("Those of other targets, other files and folders stay")
  func others() throws {
    let long = String(repeating: "n", count: 200)
    let mine = try leave(1, besides: "c.qckpt")[0]
    let strange = [
      ".c.qckpt.0123456789abcdeg.qcodec-partial", ".c.qckpt.0123456789abcde.qcodec-partial", ".c.qckpt.qcodec-partial",
      ".c.qckpt.0123456789abcdef.qcodec-partial.x", "c.qckpt.0123456789abcdef.qcodec-partial",
      ".c.qckpt.x.0123456789abcdef.qcodec-partial", ".e\u{301}.0123456789abcdef.qcodec-partial",
    ]
    for name in strange { _ = try folder.write([1], name) }
    let theirs = try strange + leave(1, besides: "d.qckpt") + leave(1, besides: long + "1")
    // Of another kind, though the name is a temporary's.
    let special = [".c.qckpt.00000000000000aa.qcodec-partial", ".c.qckpt.00000000000000bb.qcodec-partial"]
    try FileManager.default.createDirectory(atPath: folder.path(special[0]), withIntermediateDirectories: false)
    try FileManager.default.createSymbolicLink(atPath: folder.path(special[1]), withDestinationPath: "d.qckpt")
    #expect(try folder.names.contains(mine))
    try complete()
    try complete(long + "2")
    // The same characters as one of the strange names has, but other bytes.
    try complete("\u{e9}")
    let expected = theirs + special + ["c.qckpt", long + "2", "\u{e9}"]
    #expect(
      try folder.names.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) }
        == expected.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) })
  }

  @Test("Many writers to one path: each file is whole, the last to finish stays, and nothing else does")
  func concurrent() throws {
    let first = try begun()
    let second = try begun()
    #expect(try folder.names.count == 2)
    try complete()
    #expect(try folder.names.count == 3)
    try second.add("b", bytes: [2])
    _ = try second.finish()
    #expect(try opened(folder.read("c.qckpt")).tensorCount == 2)
    _ = try first.finish()
    #expect(try opened(folder.read("c.qckpt")).tensorCount == 1)
    #expect(try folder.names == ["c.qckpt"])
  }

  @Test("Writers that come and go by the hundreds, on many threads")
  func crowd() async throws {
    let path = folder.path("c.qckpt")
    try complete()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<8 {
        group.addTask {
          for round in 0..<50 {
            let writer = try CheckpointWriter(path: path, options: .init(compression: .none, threads: 1))
            try writer.add("\(number)", bytes: noise(1000, seed: UInt64(round)))
            if round % 3 == 0 { writer.abort() } else { _ = try writer.finish() }
            // Whatever is there is whole.
            let reader = try CheckpointReader(path: path)
            try reader.checkAllBytes(threads: 1)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try folder.names == ["c.qckpt"])
  }

  @Test("What was opened before is read to its end, whatever takes its place")
  func openedBefore() throws {
    try complete()
    let reader = try CheckpointReader(path: folder.path("c.qckpt"))
    let writer = try begun()
    try writer.add("b", bytes: [2])
    _ = try writer.finish()
    try reader.checkAllBytes()
    #expect(try reader.bytes(ofTensor: 0) == [UInt8](repeating: 81, count: 2 << 20))
    #expect(reader.tensorCount == 1)
  }
}
