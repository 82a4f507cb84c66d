import QCodec
import Testing

@testable import QCheckpoint

@Suite("Where a base is found")
struct BaseResolutionTests {
  private func small(_ step: UInt8, base: CheckpointReader? = nil, name: String? = nil) throws -> [UInt8] {
    try checkpoint(Run.options(.lz4, base: base, name: name)) { writer in
      try writer.add("still", bytes: [UInt8](repeating: 7, count: 100))
      try writer.add("tick", bytes: [step])
    }
  }

  @Test("Beside the file, by the name that the metadata give, from folder to folder")
  func besideTheFile() throws {
    let folder = try InputFolder()
    try folder.makeFolder("one")
    try folder.makeFolder("two")
    try folder.write(small(0), "one/base.qckpt")
    let base = try CheckpointReader(path: folder.path("one/base.qckpt"))
    try folder.write(small(1, base: base, name: "../one/base.qckpt"), "two/first.qckpt")
    let first = try CheckpointReader(path: folder.path("two/first.qckpt"))
    #expect(first.base?.digest == base.digest && first.chainLength == 1)
    try folder.write(small(2, base: first, name: "two/first.qckpt"), "last.qckpt")
    let last = try CheckpointReader(path: folder.path("last.qckpt"))
    #expect(last.chainLength == 2 && last.baseFailure == nil && last.files.count == 3)
    #expect(try last.everything() == [[UInt8](repeating: 7, count: 100), [2]])
    let document = try last.metadata()["base"]
    #expect(document?["name"] == .string("two/first.qckpt"))
    #expect(document?["digest"] == .string(try #require(first.digest).description))
    // As input to another file, and in the open, what was opened stays.
    try folder.remove("one/base.qckpt")
    #expect(try last.everything().count == 2)
    #expect(try openInput(path: folder.path("two/first.qckpt")).checkpoint?.baseFailure?.code == .baseMissing)
  }

  @Test("Missing, it is an error of what needs it alone")
  func missing() throws {
    let base = try opened(small(0))
    let delta = try opened(small(1, base: base, name: "b"))
    let digest = try #require(base.digest).description
    let failure = try #require(delta.baseFailure)
    #expect(failure.code == .baseMissing && failure.message.contains(digest))
    #expect(delta.tensor(0).baseChunks == 1)
    #expect(try delta.bytes(ofTensor: 1) == [1])
    let error = try #require(inputError { _ = try delta.bytes(ofTensor: 0) })
    #expect(error.code == .baseMissing && error.tensor == "still")
    #expect(inputError { try delta.checkAllBytes() }?.code == .baseMissing)
    #expect(inputError { _ = try flattened(delta) }?.code == .baseMissing)
    #expect(delta.withBases([base]).baseFailure == nil)
    #expect(try delta.withBases([base]).bytes(ofTensor: 0).count == 100)
    #expect(try delta.withBases([opened(small(9))]).baseFailure?.code == .baseMissing)
  }

  @Test("Another checkpoint in its place is none")
  func another() throws {
    let folder = try InputFolder()
    try folder.write(small(0), "base.qckpt")
    let base = try CheckpointReader(path: folder.path("base.qckpt"))
    try folder.write(small(1, base: base, name: "base.qckpt"), "delta.qckpt")
    try folder.write(small(5), "base.qckpt")
    let delta = try CheckpointReader(path: folder.path("delta.qckpt"))
    #expect(delta.baseFailure?.code == .baseMismatch)
    #expect(inputError { _ = try delta.bytes(ofTensor: 0) }?.code == .baseMismatch)
    // The right one is taken from those at hand, whatever lies there.
    let found = try CheckpointReader(path: folder.path("delta.qckpt"), bases: [opened(small(3)), opened(small(0))])
    #expect(found.baseFailure == nil)
    for (bytes, code) in [
      (Array("PK\u{3}\u{4}".utf8), QCodecError.Code.notACheckpoint), (Array(try small(0).dropLast(10)), .truncated),
    ] {
      try folder.write(bytes, "base.qckpt")
      let failure = try CheckpointReader(path: folder.path("delta.qckpt")).baseFailure
      #expect(failure?.code == code && failure?.message.hasPrefix("the base 'base.qckpt': ") == true)
    }
  }

  @Test("A chain is completed from bases at hand, in any order")
  func chains() throws {
    var files = [try small(0)]
    for step in 1...4 {
      let readers = try files.map { try opened($0) }
      let base = try opened(files[step - 1], bases: readers)
      #expect(base.baseFailure == nil)
      files.append(try small(UInt8(step), base: base))
    }
    let readers = try files.map { try opened($0) }
    for bases in [readers, readers.reversed()] {
      let last = try opened(files[4], bases: bases)
      #expect(last.chainLength == 4)
      #expect(try last.bytes(ofTensor: 0) == [UInt8](repeating: 7, count: 100))
    }
    #expect(try opened(files[4], bases: [readers[3]]).chainLength == 1)
    // One after another.
    let reader = readers[4].withBases([readers[3]]).withBases([readers[2], readers[1]]).withBases([readers[0]])
    #expect(reader.chainLength == 4)
  }

  @Test("A chain has an end: the longest is read, one more is refused")
  func longChains() throws {
    var reader = try opened(small(0))
    for step in 1...BaseResolver.maximumChain {
      reader = try opened(small(UInt8(step), base: reader), bases: [reader])
      #expect(reader.baseFailure == nil && reader.chainLength == step)
    }
    #expect(try reader.bytes(ofTensor: 0) == [UInt8](repeating: 7, count: 100))
    #expect(inputError { _ = try small(65, base: reader) }?.code == .limitExceeded)
  }

  @Test("A file that lies where a base does in a circle ends at the limit")
  func circles() throws {
    // Digests make circles impossible; a reader is not to depend on it.
    var resolver = BaseResolver(folder: "")
    resolver.depth = BaseResolver.maximumChain
    let found = try ResolvedBase(Hash128(high: 0, low: 1), by: resolver, pool: BufferPool())
    #expect(found.reader == nil && found.failure?.code == .limitExceeded)
  }

  @Test("Writers refuse what readers could not use")
  func writers() throws {
    let folder = try InputFolder()
    try folder.write(small(0), "base.qckpt")
    let base = try CheckpointReader(path: folder.path("base.qckpt"))
    try folder.write(small(1, base: base, name: "base.qckpt"), "delta.qckpt")
    let delta = try CheckpointReader(path: folder.path("delta.qckpt"))
    for name in ["base.qckpt", "delta.qckpt"] {
      let before = try folder.read(name)
      let path = folder.path(name)
      #expect(
        inputError { _ = try CheckpointWriter(path: path, options: Run.options(.lz4, base: delta)) }?.code
          == .wouldOverwriteInput)
      #expect(inputError { _ = try CheckpointFlattener(delta, path: path) }?.code == .wouldOverwriteInput)
      #expect(try folder.read(name) == before)
    }
    for name in ["", "/b", "a\0b"] {
      #expect(inputError { _ = try small(1, base: base, name: name) }?.code == .invalidArgument)
    }
    let salvaged = try Salvage(source: MemorySource(bytes: Array(small(0).dropLast(200)))).reader
    #expect(inputError { _ = try small(1, base: salvaged) }?.code == .invalidArgument)
  }

  @Test("Damage of the base is damage of what needs it")
  func damagedBase() throws {
    var bytes = try Run.save(0)
    let sound = try opened(bytes)
    let delta = try Run.save(1, base: sound)
    let place = sound.chunk(sound.tensor(try #require(sound.find("still"))).chunks[0])
    bytes[Int(place.offset)] ^= 1
    let reader = try opened(delta, bases: [opened(bytes)])
    let error = try #require(inputError { try reader.checkAllBytes() })
    #expect(error.code == .chunkCorrupt && error.tensor == "still" && error.message.hasPrefix("the base: "))
    let damage = try reader.damage()
    #expect(damage.count == 1 && damage[0].elements == 0..<3000)
    // A writer finds it as well, and leaves no file.
    #expect(inputError { _ = try Run.save(1, base: opened(bytes)) }?.code == .chunkCorrupt)
  }
}
