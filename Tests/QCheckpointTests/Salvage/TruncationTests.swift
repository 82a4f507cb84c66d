import QCodec
import Testing

@testable import QCheckpoint

@Suite("Salvage of files cut short")
struct TruncationTests {
  @Test("Cut at every length: exactly the tensors before the cut, as they were, and the error names them")
  func everyLength() throws {
    let file = try SalvageFile(DamageTests.file())
    for length in Format.headerSize..<file.bytes.count {
      let cut = Array(file.bytes[..<length])
      let whole = file.tensors.filter { file.range(ofChunk: $0.chunks[$0.chunks.count - 1]).upperBound <= length }
      let names = whole.map(\.name)
      let salvage = try salvaged(cut)
      try file.expectWhole(salvage, names, "\(length) bytes")
      // A tensor is known as soon as its preamble and first frame are there.
      let known = file.tensors.filter { file.range(ofChunk: $0.chunks[0]).lowerBound <= length }
      #expect(salvage.tensors.map(\.name) == known.map(\.name), "\(length) bytes")
      // None of these tensors has more than one chunk of codes.
      for (tensor, info) in zip(salvage.tensors, known) {
        #expect(tensor.lost == (names.contains(info.name) ? [] : [0..<info.elementCount]), "\(length) bytes")
        #expect(tensor.scheme?.map == info.scheme?.map && tensor.scheme?.scaling == info.scheme?.scaling)
      }
      let error = inputError { _ = try opened(cut) }
      #expect(error?.code == .truncated)
      #expect(error?.message.hasSuffix(Self.list(names)) == true, "\(length) bytes: \(error?.message ?? "")")
    }
  }

  private static func list(_ names: [String]) -> String {
    let count = names.count == 1 ? "; 1 tensor in it is whole" : "; \(names.count) tensors in it are whole"
    return names.isEmpty ? count : "\(count): " + names.map { "'\($0)'" }.joined(separator: ", ")
  }

  @Test("The error names eight tensors at most", arguments: [8, 9, 100])
  func manyNames(count: Int) throws {
    let file = try checkpoint { for index in 0..<count { try $0.add("t\(index)", bytes: [1]) } }
    let error = inputError { _ = try opened(Array(file.dropLast())) }
    let names = (0..<8).map { "'t\($0)'" }.joined(separator: ", ")
    let message = try #require(error?.message)
    #expect(message.hasSuffix("; \(count) tensors in it are whole: \(names)" + (count > 8 ? ", …" : "")))
  }

  @Test("Within a header there is nothing to salvage")
  func header() throws {
    let file = try DamageTests.file()
    #expect(inputError { _ = try salvaged([]) }?.code == .notACheckpoint)
    for length in 1..<Format.headerSize {
      #expect(inputError { _ = try salvaged(Array(file[..<length])) }?.code == .truncated, "\(length) bytes")
    }
    #expect(try salvaged(Array(file[..<Format.headerSize])).tensors.isEmpty)
    #expect(inputError { _ = try salvaged(noise(1000, seed: 81)) }?.code == .notACheckpoint)
  }

  @Test("Cut within a tensor of many chunks: the rest of it is lost", arguments: [0, 1, 2])
  func manyChunks(kept: Int) throws {
    let values = momentValues(600_000, signed: true, seed: 82)
    let file = try SalvageFile(
      checkpoint {
        try $0.add("t", values, Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
      })
    let end = file.range(ofChunk: kept).lowerBound
    for length in [end, end + 1, file.range(ofChunk: kept).upperBound - 1] {
      let salvage = try salvaged(Array(file.bytes[..<length]))
      #expect(salvage.tensors.map(\.lost) == [[UInt64(kept * 262_144)..<600_000]], "\(length) bytes")
      #expect(salvage.reader.tensorCount == 0)
    }
  }

  @Test("A whole file is salvaged whole")
  func wholeFile() throws {
    let file = try SalvageFile(DamageTests.file())
    try file.expectWhole(salvaged(file.bytes), file.tensors.map(\.name), "the whole file")
  }
}
