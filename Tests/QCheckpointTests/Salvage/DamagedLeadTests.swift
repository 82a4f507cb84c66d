import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage of files whose preambles and frames are damaged")
struct DamagedLeadTests {
  /// Tensors of two chunks one after the other, so that a frame can be taken for another tensor's.
  private static func file() throws -> SalvageFile {
    let scheme = Scheme(map: .linearNoZero, bits: 8, signed: false, scaling: .tensor)
    return try SalvageFile(
      checkpoint(.init(compression: .none, threads: 1)) {
        for (index, name) in ["b", "a", "d"].enumerated() {
          try $0.add(name, momentValues(200, signed: false, seed: UInt64(90 + index)), scheme)
        }
        try $0.add("c", bytes: noise(100, seed: 93))
        try $0.add(
          "e", momentValues(77, signed: true, seed: 94),
          Scheme(map: .custom, bits: 4, signed: true, scaling: .block(32), customTable: try customTable()))
      })
  }

  @Test("Every byte of every lead: every other tensor is found, nothing wrong is called whole")
  func everyByte() throws {
    let file = try Self.file()
    for tensor in file.tensors {
      let others = file.tensors.map(\.name).filter { $0 != tensor.name }
      for chunk in tensor.chunks {
        for at in file.lead(ofChunk: chunk) {
          for mask in [UInt8(1), 2, 3, 4, 0x80, 0xFF] {
            var damaged = file.bytes
            damaged[at] ^= mask
            let salvage = try salvaged(damaged)
            let comment: Comment = "byte \(at) xor \(mask), before chunk \(chunk) of '\(tensor.name)'"
            #expect(salvage.tensors.filter(\.isWhole).map(\.name).filter { $0 != tensor.name } == others, comment)
            try file.expectRight(salvage, comment)
          }
        }
      }
    }
  }

  @Test("A header that is damaged beyond its magic number is in nobody's way", arguments: Format.magic.count..<64)
  func header(at: Int) throws {
    let file = try Self.file()
    var damaged = file.bytes
    damaged[at] ^= 0xFF
    try file.expectWhole(salvaged(damaged), file.tensors.map(\.name), "byte \(at)")
  }

  @Test("A piece of the file taken out or put in: what is wholly before or behind it is found")
  func shifted() throws {
    let file = try Self.file()
    for chunk in 0..<file.reader.chunkCount {
      let range = file.range(ofChunk: chunk)
      let owner = file.reader.tensor(file.reader.chunk(chunk).tensor).name
      let others = file.tensors.map(\.name).filter { $0 != owner }
      // Tensors behind the place are aligned to 64 bytes as before.
      for length in [64, 128] where range.count > length {
        let without = Array(file.bytes[..<(range.lowerBound + 8)] + file.bytes[(range.lowerBound + 8 + length)...])
        let with = Array(file.bytes[..<range.upperBound] + noise(length, seed: 95) + file.bytes[range.upperBound...])
        for bytes in [without, with] {
          let salvage = try salvaged(bytes)
          let whole = salvage.tensors.filter(\.isWhole).map(\.name).filter { $0 != owner }
          #expect(whole == others, "\(length) bytes at chunk \(chunk)")
          try file.expectRight(salvage, "\(length) bytes at chunk \(chunk)")
        }
      }
    }
  }
}
