import QCheckpoint
import QCodec
import QVerify
import Testing

/// Codes that another system made, in files of the Swift writer.
@Suite("Imports, verified and read by the reference reader")
struct ImportTests {
  private struct Case {
    let name: String
    let shape: [UInt64]
    let scheme: Scheme
    let scales: Int
  }

  private static func cases() throws -> [Case] {
    let table = try MapTable(
      custom: [0.5, -3, 2, 0.75, 1, -1, 0.25, 7, .nan, 0, -0.0, 0, 0.1, 0.2, 0.3, -0.4], signed: true, isImport: true,
      scaleRule: .unknown)
    let long = UInt64(TensorLayout.chunkElements + 77)
    var result: [Case] = []
    for bits in [8, 4] {
      let blocks = Scheme(map: .dynamic, bits: bits, signed: true, scaling: .block(256))
      result.append(Case(name: "blocks \(bits)", shape: [long], scheme: blocks, scales: (Int(long) + 255) / 256))
      for (scaling, count) in [(Scheme.Scaling.tensor, 1), (.row, 65), (.column, 67), (.rank1, 132)] {
        let scheme = Scheme(map: .linearNoZero, bits: bits, signed: false, scaling: scaling)
        result.append(Case(name: "\(scaling) \(bits)", shape: [65, 67], scheme: scheme, scales: count))
      }
    }
    let custom = Scheme(map: .custom, bits: 4, signed: true, scaling: .row, rounding: .unknown, customTable: table)
    result.append(Case(name: "import", shape: [65, 67], scheme: custom, scales: 65))
    return result
  }

  private static func write(_ cases: [Case], to path: String, _ compression: Compression) throws {
    let writer = try CheckpointWriter(path: path, options: .init(compression: compression, threads: 2))
    for (index, one) in cases.enumerated() {
      var generator = SeededGenerator(seed: UInt64(index))
      let scales = (0..<one.scales).map { _ in Float.random(in: 0...2, using: &generator) }
      let count = Int(one.shape.reduce(1, *))
      // Codes below 8 of either half: that of the entry without a value does not occur.
      var codes = (0..<(one.scheme.bits == 8 ? count : (count + 1) / 2)).map { _ in
        UInt8.random(in: 0...255, using: &generator) & (one.scheme.bits == 8 ? 0xFF : 0x77)
      }
      if one.scheme.bits == 4, count % 2 == 1 { codes[codes.count - 1] &= 0xF0 }
      try writer.addImport(
        name: one.name, shape: one.shape, scheme: one.scheme, scales: MemorySource(scales),
        codes: MemorySource(bytes: codes))
    }
    _ = try writer.finish()
  }

  @Test("Both readers find the same bits, and nothing is guaranteed", arguments: Compression.allCases)
  func agreement(compression: Compression) throws {
    let cases = try Self.cases()
    let folder = try TemporaryFolder()
    let path = folder.path("imports.qckpt")
    try Self.write(cases, to: path, compression)
    let reader = try CheckpointReader(path: path)
    let report = try Verifier(reader).verify()
    #expect(report.ok && report.tensors.count == cases.count)
    #expect(report.tensors.allSatisfy { $0.guaranteedMaxAbsError == nil && $0.recomputedGuarantee == nil })
    guard let found = try ReferenceReader.read([path], test: "ImportTests.agreement") else { return }
    let tensors = try #require(found[path]?["tensors"]?.arrayValue, "\(found)")
    #expect(tensors.count == cases.count)
    for tensor in tensors {
      let index = try #require(tensor["name"]?.stringValue.flatMap { reader.find($0) })
      #expect(tensor["xxh3"]?.stringValue == hexadecimal(xxh3(try reader.bytes(ofTensor: index))), "\(tensor)")
      #expect(try tensor.double("recomputed") == nil, "\(tensor)")
    }
  }

  @Test("An import verifies against itself, and not against other values")
  func verified() throws {
    let folder = try TemporaryFolder()
    let (path, other) = (folder.path("imports.qckpt"), folder.path("others.qckpt"))
    let cases = try Self.cases()
    try Self.write(cases, to: path, .lz4)
    try Self.write(cases.reversed(), to: other, .lz4)
    let verifier = Verifier(try CheckpointReader(path: path), limits: .init(maxAbsolute: 0))
    #expect(try verifier.verify(against: openInput(path: path)).ok)
    #expect(try !verifier.verify(against: openInput(path: other)).ok)
  }
}
