import Foundation
import QCodec
import Testing

@testable import QCheckpoint

@Suite("A file appears when it is complete, and not before", .serialized)
struct CommitTests {
  private let folder: InputFolder
  private let options = WriterOptions(compression: .none, threads: 2)

  init() throws { folder = try InputFolder() }

  private func writer(_ name: String = "c.qckpt") throws -> CheckpointWriter {
    try CheckpointWriter(path: folder.path(name), options: options)
  }

  private func complete(_ name: String = "c.qckpt") throws {
    let writer = try writer(name)
    try writer.add("a", bytes: [1, 2, 3])
    _ = try writer.finish()
  }

  /// A tensor whose source fails from a chunk on.
  private func failing(from chunk: UInt64) -> CallbackSource {
    unsafe CallbackSource(byteCount: 8 << 20) { offset, target throws(QCodecError) in
      guard offset < chunk << 20 else { throw QCodecError(.io, "the source failed", offset: offset) }
      unsafe target.initializeMemory(as: UInt8.self, repeating: 7)
    }
  }

  @Test(
    "A source that fails midway: the previous file stays, byte for byte, and no temporary", arguments: [0, 1, 5, 7])
  func failingSource(chunk: UInt64) throws {
    let previous = noise(5000, seed: 61)
    _ = try folder.write(previous, "c.qckpt")
    let writer = try writer()
    try writer.add("a", bytes: [1, 2, 3])
    let error = inputError {
      try writer.add(
        name: "t", dtype: .u8, shape: [8 << 20], encoding: .lossless(reason: .none), source: failing(from: chunk))
    }
    #expect(error == QCodecError(.io, "the source failed", offset: chunk << 20, tensor: "t"))
    #expect(try folder.read("c.qckpt") == previous)
    #expect(try folder.names == ["c.qckpt"])
    #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
    #expect(inputError { try writer.add("b", bytes: [1]) }?.code == .writerClosed)
    #expect(try folder.names == ["c.qckpt"])
  }

  @Test("Until finish there is nothing under the name; abort and letting go leave nothing at all")
  func abort() throws {
    let aborted = try writer()
    try aborted.add("a", bytes: noise(3 << 20, seed: 62))
    #expect(try !folder.names.contains("c.qckpt"))
    #expect(try folder.names.count == 1)
    aborted.abort()
    #expect(try folder.names == [])
    aborted.abort()
    #expect(inputError { try aborted.add("b", bytes: [1]) }?.code == .writerClosed)
    #expect(inputError { _ = try aborted.finish() }?.code == .writerClosed)
    do {
      let dropped = try writer()
      try dropped.add("a", bytes: [1])
    }
    #expect(try folder.names == [])
  }

  @Test("Finish twice, add after finish, abort after finish")
  func closed() throws {
    let writer = try writer()
    try writer.add("a", bytes: [1, 2, 3])
    _ = try writer.finish()
    let file = try folder.read("c.qckpt")
    #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
    let error = inputError { try writer.add("b", bytes: [1]) }
    #expect(error?.code == .writerClosed)
    #expect(error?.tensor == "b")
    writer.abort()
    #expect(try folder.read("c.qckpt") == file)
    #expect(try folder.names == ["c.qckpt"])
  }

  @Test("A symbolic link is written through")
  func symbolicLink() throws {
    try FileManager.default.createDirectory(atPath: folder.path("there"), withIntermediateDirectories: false)
    _ = try folder.write([1], "there/real.qckpt")
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("c.qckpt"), withDestinationPath: "there/real.qckpt")
    try complete()
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path("c.qckpt")) == "there/real.qckpt")
    #expect(try opened(folder.read("there/real.qckpt")).everything() == [[1, 2, 3]])
    #expect(try folder.names == ["c.qckpt", "there"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("there")) == ["real.qckpt"])
  }

  @Test("A symbolic link to nothing is written through, over several links and out of their folders")
  func danglingLink() throws {
    let manager = FileManager.default
    try manager.createDirectory(atPath: folder.path("there"), withIntermediateDirectories: false)
    try manager.createSymbolicLink(atPath: folder.path("c.qckpt"), withDestinationPath: "there/second")
    try manager.createSymbolicLink(atPath: folder.path("there/second"), withDestinationPath: "../third")
    try manager.createSymbolicLink(atPath: folder.path("third"), withDestinationPath: folder.path("there/real"))
    try complete()
    #expect(try opened(folder.read("there/real")).everything() == [[1, 2, 3]])
    #expect(try manager.destinationOfSymbolicLink(atPath: folder.path("c.qckpt")) == "there/second")
    #expect(try folder.names == ["c.qckpt", "there", "third"])
    #expect(try manager.contentsOfDirectory(atPath: folder.path("there")).sorted() == ["real", "second"])
  }

  @Test("Links in a circle and links into missing folders are refused")
  func linksToNowhere() throws {
    let manager = FileManager.default
    try manager.createSymbolicLink(atPath: folder.path("a"), withDestinationPath: "b")
    try manager.createSymbolicLink(atPath: folder.path("b"), withDestinationPath: "a")
    try manager.createSymbolicLink(atPath: folder.path("c"), withDestinationPath: "missing/real")
    for name in ["a", "b", "c"] { #expect(inputError { try complete(name) }?.code == .io, "\(name)") }
    #expect(try folder.names == ["a", "b", "c"])
  }

  @Test("Where only the folder fails, the message says that the file is in place")
  func folderFailure() {
    let error = inputError { try OutputFile.synchronise(folder: folder.path("missing/")) }
    #expect(error?.code == .io)
    #expect(error?.message == "cannot open the folder, though the file is in place: No such file or directory")
  }

  @Test("The umask is honoured", arguments: [0o022, 0o027, 0o077] as [mode_t])
  func modes(mask: mode_t) throws {
    let previous = umask(mask)
    let result = Result { try complete() }
    umask(previous)
    try result.get()
    let attributes = try FileManager.default.attributesOfItem(atPath: folder.path("c.qckpt"))
    #expect(attributes[.posixPermissions] as? Int == 0o666 & ~Int(mask))
  }

  @Test("Names up to the system's 255 bytes", arguments: [1, 200, 220, 254, 255])
  func longNames(length: Int) throws {
    for character in ["n", "é"] {
      var name = String(repeating: character, count: length / character.utf8.count)
      if name.utf8.count < length { name += "x" }
      #expect(name.utf8.count == length)
      try complete(name)
      #expect(try opened(folder.read(name)).everything() == [[1, 2, 3]])
    }
    let tooLong = inputError { try complete(String(repeating: "n", count: 256)) }
    #expect(tooLong?.code == .io)
    #expect(try folder.names.allSatisfy { !$0.hasSuffix(".qcodec-partial") })
  }

  @Test("Where no file can be created")
  func refused() throws {
    #expect(inputError { try complete("missing/c.qckpt") }?.code == .io)
    #expect(inputError { try complete("") }?.code == .io)
    #expect(try folder.names == [])
  }

  @Test("A path of no characters is refused at once")
  func emptyPath() {
    #expect(inputError { _ = try CheckpointWriter(path: "") }?.code == .io)
  }

  @Test("A refused argument leaves the writer open, and nothing of the tensor in the file")
  func refusedArguments() throws {
    let writer = try writer()
    try writer.add("a", bytes: [1, 2, 3])
    #expect(inputError { try writer.add("", bytes: [1]) }?.code == .invalidName)
    #expect(inputError { try writer.add("a", bytes: [1]) }?.code == .duplicateName)
    _ = try writer.finish()
    let refused = try folder.read("c.qckpt")
    try complete()
    #expect(try folder.read("c.qckpt") == refused)
  }
}
