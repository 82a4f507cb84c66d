import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage of checkpoints with a base")
struct DeltaSalvageTests {
  private let base: CheckpointReader
  private let bytes: [UInt8]
  private let delta: CheckpointReader
  private let contents: [String: [UInt8]]

  init() throws {
    base = try opened(Run.save(0))
    bytes = try Run.save(1, base: base, name: "base.qckpt")
    delta = try opened(bytes, bases: [base])
    var contents: [String: [UInt8]] = [:]
    for index in 0..<delta.tensorCount { contents[delta.tensor(index).name] = try delta.bytes(ofTensor: index) }
    self.contents = contents
  }

  private func expectRight(_ recovery: Recovery, whole names: Set<String>) throws {
    #expect(Set(recovery.tensors.filter(\.isWhole).map(\.name)) == names)
    for tensor in recovery.tensors where tensor.isWhole {
      #expect(try recovery.reader.bytes(ofTensor: #require(tensor.number)) == contents[tensor.name], "\(tensor.name)")
    }
  }

  @Test("With the base everything, without it what needs none")
  func wholeFile() throws {
    try expectRight(Recovery(source: MemorySource(bytes: bytes), bases: [base]), whole: Set(contents.keys))
    let alone = try Recovery(source: MemorySource(bytes: bytes))
    // The first moment is its own, its second moment is the base's.
    try expectRight(alone, whole: ["codes", "none", "step"])
    #expect(alone.reader.baseFailure?.code == .baseMissing)
    let params = try #require(alone.tensors.first { $0.name == "params" })
    #expect(params.lost == [0..<300_000])
    #expect(alone.metadata?["base"]?["name"] == .string("base.qckpt"))
  }

  @Test("A damaged header: the trailer vouches for the base that is given, or that the metadata tell")
  func damagedHeader() throws {
    var damaged = bytes
    for place in 0..<64 { damaged[place] = 0 }
    try expectRight(Recovery(source: MemorySource(bytes: damaged), bases: [base]), whole: Set(contents.keys))
    let alone = try Recovery(source: MemorySource(bytes: damaged))
    #expect(!alone.isDirectoryLost && alone.reader.baseDigest == base.digest)
    try expectRight(alone, whole: ["codes", "none", "step"])
    let other = try Recovery(source: MemorySource(bytes: damaged), bases: [opened(Run.save(4))])
    try expectRight(other, whole: ["codes", "none", "step"])
  }

  @Test("A file cut short gives what stands before the cut, and with the base what refers to it")
  func truncated() throws {
    let end = Int(delta.trailer.directoryOffset)
    let cut = Array(bytes[..<end])
    let withBase = try Recovery(source: MemorySource(bytes: cut), bases: [base])
    #expect(withBase.isDirectoryLost)
    try expectRight(withBase, whole: Set(contents.keys).subtracting(["none"]))
    try expectRight(Recovery(source: MemorySource(bytes: cut)), whole: ["codes", "step"])
    let error = try #require(inputError { _ = try opened(cut) })
    #expect(error.code == .truncated && error.message.contains("2 tensors in it are whole"))
    // Neither header nor directory: nothing tells that the base is the right one.
    var beheaded = cut
    beheaded[40] ^= 1
    try expectRight(Recovery(source: MemorySource(bytes: beheaded), bases: [base]), whole: ["codes", "step"])
  }

  @Test("Every byte is covered: a change of any makes the file fail")
  func everyByte() throws {
    let small = try checkpoint(Run.options(.lz4)) { writer in
      try writer.add("a", bytes: Array(0..<200))
      try writer.add("b", bytes: [UInt8](repeating: 3, count: 50))
    }
    let base = try opened(small)
    let bytes = try checkpoint(Run.options(.lz4, base: base)) { writer in
      try writer.add("a", bytes: Array(1..<201))
      try writer.add("b", bytes: [UInt8](repeating: 3, count: 50))
    }
    let reader = try opened(bytes, bases: [base])
    #expect(try relations(reader, "a") == [.difference] && relations(reader, "b") == [.equal])
    for place in bytes.indices {
      for bit in [0, 5] {
        var damaged = bytes
        damaged[place] ^= 1 << bit
        let error = inputError { try opened(damaged, bases: [base]).checkAllBytes() }
        #expect(error != nil, "byte \(place), bit \(bit)")
        // No way of looking a file over crashes.
        _ = try? Recovery(source: MemorySource(bytes: damaged), bases: [base])
      }
    }
  }
}
