import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage") struct SalvageTests {
  /// Tensors of several kinds of chunks, in an order that is not that of their names.
  static func file() throws -> [UInt8] {
    let table = try MapTable(
      custom: (0..<16).map { Float($0) / 15 }, signed: false, scaleRule: .absmax)
    let values = momentValues(300, signed: true, seed: 1)
    return try checkpoint { writer in
      try writer.add("rows", values, shape: [30, 10], Scheme(map: .linear, bits: 8, signed: true, scaling: .row))
      try writer.add("none", bytes: [])
      try writer.add("blocks", values, Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(32)))
      try writer.add(
        "custom", values.map(\.magnitude),
        Scheme(map: .custom, bits: 4, signed: false, scaling: .block(64), customTable: table))
      try writer.add("a", bytes: noise(77, seed: 2))
    }
  }

  private func salvage(_ bytes: [UInt8]) throws(QCodecError) -> Salvage {
    try Salvage(source: MemorySource(bytes: bytes))
  }

  @Test("What stands whole before a cut is salvaged, whatever the cut")
  func cuts() throws {
    let bytes = try Self.file()
    let reader = try opened(bytes)
    let tensors = (0..<reader.tensorCount).map(reader.tensor)
    for end in 64...bytes.count {
      let found = try salvage(Array(bytes[..<end]))
      let whole = tensors.filter { tensor in
        guard let last = tensor.chunks.last.map(reader.chunk) else { return false }
        return last.offset + UInt64(last.storedLength) <= UInt64(end)
      }
      let names = found.tensors.filter(\.isWhole).map(\.name)
      #expect(names.sorted() == whole.map(\.name), "cut at \(end)")
      let salvaged = try found.reader.everything()
      let expected = try whole.map { tensor in
        try reader.bytes(ofTensor: #require(reader.find(tensor.name)), threads: 1)
      }
      #expect(salvaged == expected, "cut at \(end)")
    }
  }

  /// The file with another header, its checksum right.
  private func file(headed change: (inout [UInt8]) -> Void) throws -> [UInt8] {
    var bytes = try Self.file()
    var header = Array(bytes[..<56])
    change(&header)
    let hash = xxh3(header)
    bytes.replaceSubrange(..<64, with: header + (0..<8).map { UInt8(truncatingIfNeeded: hash >> ($0 * 8)) })
    return bytes
  }

  @Test("A header that is whole is believed, a damaged one passed over")
  func headers() throws {
    func code(_ change: (inout [UInt8]) -> Void) throws -> QCodecError.Code? {
      let bytes = try file(headed: change)
      do throws(QCodecError) { _ = try salvage(bytes) } catch { return error.code }
      return nil
    }
    #expect(try code { _ in } == nil)
    #expect(try code { $0[10] = 2 } == nil)
    for major in [UInt8(0), 2] { #expect(try code { $0[8] = major } == .unsupportedVersion) }
    #expect(try code { $0[16] = 4 } == .unsupportedFeature)
    #expect(try code { $0[40] = 1 } == .reservedBits)
    #expect(try code { $0[0] = 0x50 } == .notACheckpoint)
    var damaged = try Self.file()
    damaged[10] = 2
    #expect(try salvage(damaged).tensors.count == 4)
  }

  @Test("A reader of what was salvaged has empty metadata")
  func metadata() throws {
    let reader = try salvage(try Self.file()).reader
    #expect(try reader.metadata() == .object([:]))
  }
}
