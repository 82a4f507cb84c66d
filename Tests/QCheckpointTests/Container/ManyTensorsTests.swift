import QCodec
import Testing

@testable import QCheckpoint

@Suite("Directories of many tensors")
struct ManyTensorsTests {
  /// Names of which many are the beginnings of others, in the order of their bytes.
  private static let names: [String] = {
    let tokens = ["", ".weight", ".weight.exp_avg", ".weight.exp_avg_sq", ".ω", ".\u{7F}", "\0"]
    return (0..<300).flatMap { layer in tokens.map { "layers.\(layer)\($0)" } }
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }()

  /// A file of tensors of those names, each of which holds its place among them; added in another order.
  private static func file() throws -> [UInt8] {
    var generator = SeededGenerator(seed: 31)
    let places = names.indices.shuffled(using: &generator)
    return try checkpoint(.init(compression: .none, threads: 1)) {
      for place in places { try $0.add(names[place], bytes: littleEndian(UInt32(place))) }
    }
  }

  @Test("Each name is found where it stands, and what it holds is its own")
  func present() throws {
    let reader = try opened(Self.file())
    #expect(reader.tensorCount == Self.names.count)
    for (place, name) in Self.names.enumerated() {
      #expect(reader.find(name) == place)
      #expect(reader.tensor(place).name.utf8.elementsEqual(name.utf8))
      #expect(try reader.bytes(ofTensor: place) == littleEndian(UInt32(place)))
    }
  }

  @Test("No other name is found: before the first, behind the last, between neighbours, beginnings and extensions")
  func absent() throws {
    let reader = try opened(Self.file())
    let known = Set(Self.names.map { Array($0.utf8) })
    var others: Set<[UInt8]> = [[], [0], [0x7F], Array("l".utf8), Array("layers.".utf8), Array("zzz".utf8)]
    for name in Self.names {
      let bytes = Array(name.utf8)
      others.insert(bytes + [0])
      others.insert(bytes + Array("~".utf8))
      if bytes.allSatisfy({ $0 < 0x80 }) { others.insert(bytes.dropLast()) }
    }
    others.subtract(known)
    #expect(others.count > Self.names.count)
    for other in others { #expect(reader.find(String(decoding: other, as: UTF8.self)) == nil, "\(other)") }
  }

  @Test("Opening reads head, trailer and directory, each byte once; looking about reads nothing more")
  func reads() throws {
    let source = CountingSource(try Self.file())
    let reader = try CheckpointReader(source: source)
    let trailer = reader.trailer
    let directory = trailer.directoryOffset..<trailer.directoryOffset + trailer.directoryLength
    let end = source.byteCount - UInt64(Format.trailerSize)..<source.byteCount
    #expect(source.takeReads() == [0..<256, directory, end])
    for (place, name) in Self.names.enumerated() {
      #expect(reader.find(name) == place)
      #expect(reader.tensor(place).storedBytes == 4)
      #expect(reader.chunk(reader.tensor(place).chunks[0]).tensor == place)
    }
    #expect(source.takeReads() == [])
  }

  @Test("Far more schemes than a file needs, in turn: each tensor has its own")
  func schemes() throws {
    var schemes: [Scheme] = []
    for exponent in 5...16 {
      let scaling = Scheme.Scaling.block(1 << exponent)
      schemes += [
        Scheme(map: .dynamic, bits: 8, signed: true, scaling: scaling),
        Scheme(map: .linear, bits: 4, signed: true, scaling: scaling, scaleRule: .absmax),
        Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: scaling),
        Scheme(map: .log, bits: 8, signed: false, scaling: scaling),
        Scheme(map: .custom, bits: 4, signed: true, scaling: scaling, customTable: try customTable()),
      ]
      for seed in [UInt64(1), 1 << 63] {
        schemes.append(
          Scheme(map: .linear, bits: 8, signed: false, scaling: scaling, rounding: .stochastic, seed: seed))
      }
    }
    for scaling in [Scheme.Scaling.tensor, .row, .column, .rank1] {
      schemes.append(Scheme(map: .linear, bits: 8, signed: false, scaling: scaling))
    }
    let values = momentValues(128 * 128, signed: false, seed: 32)
    let file = try checkpoint(.init(compression: .none, threads: 1)) {
      for round in 0..<2 {
        for (index, scheme) in schemes.enumerated() {
          try $0.add("\(round).\(index)", values, shape: [128, 128], scheme)
        }
      }
    }
    let reader = try opened(file)
    for round in 0..<2 {
      for (index, scheme) in schemes.enumerated() {
        let tensor = try #require(reader.find("\(round).\(index)"))
        #expect(reader.tensor(tensor).scheme == scheme)
        #expect(try reader.layout(of: tensor)?.scheme == scheme)
      }
    }
    try reader.checkAllBytes(threads: 1)
  }

  @Test("Names are sorted by their bytes, whatever they share")
  func order() {
    var generator = SeededGenerator(seed: 33)
    for prefix in [0, 1, 9] {
      for alphabet in [[0, 1], [0, 0x61, 0xFF], Array(UInt8.min ... .max)] as [[UInt8]] {
        let names = (0..<500).map { _ in
          [UInt8](repeating: 0x61, count: prefix)
            + (0...Int.random(in: 0..<20, using: &generator)).map { _ in alphabet.randomElement(using: &generator) ?? 0
            }
        }
        let expected = names.sorted { $0.lexicographicallyPrecedes($1) }
        #expect(NameOrder.sorted(names).map { names[$0] } == expected)
      }
    }
    #expect(NameOrder.sorted([]) == [])
    #expect(NameOrder.sorted([[1]]) == [0])
  }
}

@Suite("The first defect of a directory, in the order of the specification's checks")
struct FirstDefectTests {
  /// Two changes of which the second concerns an earlier tensor or chunk but a later check.
  struct Pair: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let says: String
    let code: QCodecError.Code
    let first: @Sendable (inout CheckpointPatch) -> Void
    let second: @Sendable (inout CheckpointPatch) -> Void
  }

  private static let (early, late) = (AttackFile.custom, AttackFile.quantized)

  static let pairs: [Pair] = [
    Pair(
      testDescription: "21, 24: a tensor's fields before a chunk's", says: "unknown role", code: .invalidDirectory,
      first: { $0.set(directoryAt: $0.record(late) + RecordField.role, UInt8(9)) },
      second: { $0.set(directoryAt: $0.chunk(0) + ChunkField.kind, UInt8(9)) }),
    Pair(
      testDescription: "24, 25: a chunk's fields before names", says: "reserved", code: .reservedBits,
      first: { $0.set(directoryAt: $0.chunk(2) + ChunkField.reserved, UInt16(1)) },
      second: { $0.directory[$0.names] = 0xFF }),
    Pair(
      testDescription: "25, B: names before strides", says: "not valid UTF-8", code: .invalidName,
      first: { $0.directory[$0.names + $0.count(.nameBytes) - 1] = 0xFF },
      second: { $0.set(directoryAt: $0.record(early) + RecordField.stride, UInt8(2)) }),
    Pair(
      testDescription: "B, C: all strides before any scheme", says: "a chunk stride of 2", code: .invalidChunkTable,
      first: { $0.set(directoryAt: $0.record(late) + RecordField.stride, UInt8(2)) },
      second: { $0.set(directoryAt: $0.record(early) + RecordField.scaling, UInt8(3)) }),
    Pair(
      testDescription: "C, D: all counts of chunks before any chunk", says: "0 chunks where", code: .invalidChunkTable,
      first: { $0.set(directoryAt: $0.record(late) + RecordField.chunkCount, UInt64(0)) },
      second: { $0.set(directoryAt: $0.chunk(0) + ChunkField.offset, UInt64(0)) }),
  ]

  @Test(arguments: pairs)
  func isTold(_ pair: Pair) throws {
    var patch = try CheckpointPatch(AttackFile.bytes())
    pair.second(&patch)
    #expect(inputError { _ = try opened(patch.sealed()) }?.message.contains(pair.says) == false)
    pair.first(&patch)
    let error = inputError { _ = try opened(patch.sealed()) }
    #expect(error?.code == pair.code, "\(String(describing: error))")
    #expect(error?.message.contains(pair.says) == true, "\(String(describing: error))")
  }
}
