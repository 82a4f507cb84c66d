import Testing

@testable import QCodec

@Suite("The update domain: what is refused")
struct UpdateRefusalTests {
  private func code(_ first: Scheme, _ second: Scheme) -> QCodecError.Code? {
    failure { () throws(QCodecError) in _ = try MomentCodec(shape: [64], first: first, second: second) }?.code
  }

  @Test("Pairs that cannot be")
  func pairs() throws {
    let (first, second) = (updateScheme(.linear, 8), logScheme(8))
    #expect(code(first, second) == nil)
    for map in [Scheme.Map.dynamic, .dynamicNoZero, .linear, .linearNoZero] {
      #expect(code(first, Scheme(map: map, bits: 8, signed: false, scaling: .tensor)) == nil)
    }
    #expect(code(Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor), second) == .unsupportedScheme)
    #expect(code(first, first) == .unsupportedScheme)
    #expect(code(first, Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor)) == .unsupportedScheme)
    let entries = (0..<16).map { Float($0) }
    let table = try MapTable(custom: entries, signed: false, isImport: true, scaleRule: .unknown)
    let imported = Scheme(
      map: .custom, bits: 4, signed: false, scaling: .tensor, rounding: .unknown, customTable: table)
    #expect(code(first, imported) == .unsupportedScheme)
    for map in [Scheme.Map.dynamic, .linear, .linearNoZero] {
      let unsigned = Scheme(map: map, bits: 8, signed: false, scaling: .tensor, domain: .update)
      #expect(code(unsigned, second) == .unsupportedScheme)
    }
    let alone = failure { () throws(QCodecError) in _ = try TensorCodec(dtype: .f32, shape: [64], scheme: first) }
    #expect(alone?.code == .unsupportedScheme)
  }

  /// The error of encoding a pair of f32 moments, or of others that they are given as.
  private func error(_ m: [Float], _ v: [Float], dtype: DType = .f32, _ scheme: Scheme) throws -> QCodecError? {
    let codec = try MomentCodec(dtype: dtype, shape: [UInt64(m.count)], first: scheme, second: logScheme(8))
    let bytes = (try Narrow.bytes(m, dtype: dtype), try Narrow.bytes(v, dtype: .f32))
    return failure { () throws(QCodecError) in _ = try codec.encode(bytes: bytes.0, second: bytes.1) }
  }

  @Test("Quotients, scales and values that overflow", arguments: signedMaps)
  func overflow(map: Scheme.Map, bits: Int) throws {
    for scaling in [Scheme.Scaling.block(32), .tensor] {
      let scheme = updateScheme(map, bits, scaling)
      for (m, v) in [
        // 1e38 / 1e-15; the largest float over 1, whose scale rounds up; over 2, whose scale is 2^127 and its value 2^128.
        (Float(1e38), Float(1e-30)), (-1e38, 1e-30), (.greatestFiniteMagnitude, 0), (.greatestFiniteMagnitude, 1),
        (.greatestFiniteMagnitude, 4),
      ] {
        let found = try error([1, m], [v, v], scheme)
        #expect(found?.code == .updateNotFinite, "\(m) over the root of \(v)")
        #expect(found?.tensor == "m")
      }
      // A scale that rounds down stays finite.
      #expect(try error([1, Float(bitPattern: 0x7F7F_FF7F)], [1, 1], scheme) == nil)
      #expect(try error([1, Float(bitPattern: 0x7F7F_FF7F)], [4, 4], scheme) == nil)
    }
  }

  @Test("A value that overflows float16 alone")
  func overflowOfHalf() throws {
    // u of the second is 127/69.6 of the first's: the first is rounded from 69.6 to 70 steps, to 65,880.
    let root = 60_000 / (Double(65_504) * 127 / 69.6)
    let (m, v) = ([Float(65_504), 60_000], [Float(1), Float(root * root)])
    let scheme = updateScheme(.linear, 8)
    #expect(try error(m, v, dtype: .f16, scheme)?.code == .updateNotFinite)
    #expect(try error(m, v, scheme) == nil)
    #expect(try error(m, v, dtype: .bf16, scheme) == nil)
    #expect(try error([65_504, -65_504], [1, 1], dtype: .f16, scheme) == nil)
  }

  @Test("Values that are not finite are named, and negative second moments", arguments: [0, 40, 262_200])
  func values(index: Int) throws {
    let count = 262_300
    let (ones, codec) = ([Float](repeating: 1, count: count), updateScheme(.linear, 8, .block(64)))
    for value in [Float.nan, .infinity, -.infinity] {
      var m = ones
      m[index] = value
      let first = try error(m, ones, codec)
      #expect(first?.code == .nonFiniteValue && first?.index == UInt64(index) && first?.tensor == "m", "\(value)")
      let second = try error(ones, m, codec)
      #expect(second?.code == .nonFiniteValue && second?.index == UInt64(index) && second?.tensor == "v", "\(value)")
    }
    var v = ones
    v[index] = -1
    let negative = try error(ones, v, codec)
    #expect(negative?.code == .negativeValue && negative?.index == UInt64(index) && negative?.tensor == "v")
  }

  @Test("Streams of another size, and contents that no encoder writes")
  func streams() throws {
    let codec = try MomentCodec(shape: [3], first: updateScheme(.linear, 4), second: logScheme(4))
    let (first, second) = try codec.encode(first: [1, 2, 3], second: [1, 2, 3])
    func code(_ first: [UInt8], _ second: [UInt8]) -> QCodecError.Code? {
      failure { () throws(QCodecError) in _ = try codec.decodeFirst(first, second: second) }?.code
    }
    #expect(code(first, second) == nil)
    #expect(code(Array(first.dropLast()), second) == .shapeMismatch)
    #expect(code(first, second + [0]) == .shapeMismatch)
    #expect(code(first.dropLast() + [1], second) == .invalidCode)
    #expect(code([0, 0, 0xC0, 0x7F] + first.dropFirst(4), second) == .invalidScale)
    #expect(code(first, [0, 0, 0xC0, 0x7F] + second.dropFirst(4)) == .invalidScale)
    #expect(code(first, second.dropLast() + [1]) == .invalidCode)
    let short = failure { () throws(QCodecError) in _ = try codec.encode(first: [1, 2], second: [1, 2, 3]) }
    #expect(short?.code == .shapeMismatch)
  }
}
