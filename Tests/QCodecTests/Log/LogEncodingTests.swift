import Testing

@testable import QCodec

@Suite("The log map: what is written")
struct LogEncodingTests {
  private static let specials: [Float] = [
    0, -0.0, .leastNonzeroMagnitude, 3 * .leastNonzeroMagnitude, Float.leastNormalMagnitude.nextDown, 0x1p-126,
    Float(1).nextDown, 1,
    1.5, 2, .greatestFiniteMagnitude,
  ]

  @Test("Blocks of every three special values are those of the definition", arguments: Scheme.widths)
  func triples(bits: Int) throws {
    var values: [Float] = []
    for a in Self.specials {
      for b in Self.specials {
        for c in Self.specials { values += (0..<32).map { [a, b, c][$0 % 3] } }
      }
    }
    let codec = try TensorCodec(dtype: .f32, shape: [UInt64(values.count)], scheme: logScheme(bits))
    let stream = try codec.encode(values).stream
    #expect(stream == LogReference.stream(values, block: 32, bits: bits))
    let decoded = try codec.decode(stream)
    for (index, pair) in zip(values, decoded).enumerated() {
      let block = LogReference(Array(values[index / 32 * 32..<index / 32 * 32 + 32]), bits: bits)
      let wanted = block.value(block.code(pair.0))
      if pair.1.bitPattern != wanted.bitPattern { Issue.record("element \(index): \(pair.0) decodes to \(pair.1)") }
    }
  }

  @Test(
    "Ends are stored and decoded exactly, zeros as +0; the sign of the least value tells of zeros",
    arguments: Scheme.widths)
  func ends(bits: Int) throws {
    for (name, values) in extremeBlocks {
      let codec = try TensorCodec(dtype: .f32, shape: [32], scheme: logScheme(bits))
      let stream = try codec.encode(values).stream
      let positive = values.filter { $0 > 0 }
      let (least, greatest) = (positive.min() ?? 0, positive.max() ?? 0)
      let hasZeros = positive.count < 32
      #expect(Array(stream[..<4]) == littleEndian((hasZeros ? -least : least).bitPattern), "\(name)")
      #expect(Array(stream[4..<8]) == littleEndian(greatest.bitPattern), "\(name)")
      let decoded = try codec.decode(stream)
      for (value, result) in zip(values, decoded) {
        if value == 0 { #expect(result.bitPattern == 0, "\(name)") } else { #expect(result > 0, "\(name)") }
        if value == least || value == greatest { #expect(result == value, "\(name)") }
      }
    }
  }

  @Test("Blocks of zeros: the stored ends are −0 and 0, codes 0, and any code decodes to +0", arguments: Scheme.widths)
  func zeros(bits: Int) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [33], scheme: logScheme(bits))
    let (stream, statistics) = try codec.encode([Float](repeating: -0.0, count: 33))
    let ends: [UInt8] = [0, 0, 0, 0x80, 0, 0, 0, 0]
    #expect(stream == ends + ends + [UInt8](repeating: 0, count: (33 * bits + 7) / 8))
    #expect(statistics == TensorStatistics())
    let any = ends + ends + packedCodes((0..<33).map { UInt8(($0 * 7 + 1) % (1 << bits)) }, bits: bits)
    #expect(try codec.decode(any).map(\.bitPattern) == [UInt32](repeating: 0, count: 33))
  }

  @Test("One value, with and without zeros, has codes 0, and any code decodes to it", arguments: Scheme.widths)
  func oneValue(bits: Int) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [2], scheme: logScheme(bits))
    for value in [Float.leastNonzeroMagnitude, 0.3, .greatestFiniteMagnitude] {
      let end = littleEndian(value.bitPattern)
      #expect(try codec.encode([value, value]).stream == end + end + packedCodes([0, 0], bits: bits))
      let flagged = littleEndian((-value).bitPattern)
      #expect(try codec.encode([value, 0]).stream == flagged + end + packedCodes([1, 0], bits: bits))
      for code in 0..<UInt8(1 << bits - 1) {
        let codes = packedCodes([code, 1], bits: bits)
        #expect(try codec.decode(end + end + codes) == [value, value])
        #expect(try codec.decode(flagged + end + codes) == [code == 0 ? 0 : value, value])
      }
    }
  }

  @Test("Every tail to two blocks of every size, and every place of an end within a byte", arguments: Scheme.widths)
  func tails(bits: Int) throws {
    let seed: UInt64 = 41
    let all = moments(count: 1200, signed: false, seed: seed)
    for (block, counts) in [(32, Array(0...65)), (64, Array(0...129)), (512, [1, 511, 512, 513, 1023, 1024, 1025])] {
      for count in counts {
        let values = Array(all[..<count])
        let codec = try TensorCodec(dtype: .f32, shape: [UInt64(count)], scheme: logScheme(bits, block: block))
        let blocks = (count + block - 1) / block
        #expect(codec.encodedByteCount == blocks * 8 + (count * bits + 7) / 8)
        let stream = try codec.encode(values).stream
        #expect(stream == LogReference.stream(values, block: block, bits: bits), "\(count) of \(block), seed \(seed)")
        #expect(try codec.decode(stream).count == count)
      }
    }
  }

  @Test("Blocks larger than a segment, over chunks and threads", arguments: Scheme.widths)
  func large(bits: Int) throws {
    let seed: UInt64 = 42
    let values = moments(count: 300_001, signed: false, seed: seed)
    for block in [4096, 65_536] {
      let codec = try TensorCodec(dtype: .f32, shape: [300_001], scheme: logScheme(bits, block: block))
      let one = try codec.encode(values, threads: 1)
      // Chunks of 262,144 elements hold whole blocks: each is its ends, then its codes.
      let split = 262_144
      let expected =
        LogReference.stream(Array(values[..<split]), block: block, bits: bits)
        + LogReference.stream(Array(values[split...]), block: block, bits: bits)
      #expect(one.stream == expected, "block \(block), seed \(seed)")
      for threads in [2, 7] {
        let other = try codec.encode(values, threads: threads)
        #expect(other.stream == one.stream && other.statistics == one.statistics)
        #expect(try codec.decode(one.stream, threads: threads) == codec.decode(one.stream, threads: 1))
      }
    }
  }

  @Test("Rows equal the whole", arguments: Scheme.widths)
  func slices(bits: Int) throws {
    let values = moments(count: 901 * 333, signed: false, seed: 43)
    let codec = try TensorCodec(dtype: .f32, shape: [901, 333], scheme: logScheme(bits, block: 128))
    let stream = try codec.encode(values).stream
    let whole = try codec.decode(stream)
    for rows in [0..<1, 0..<901, 5..<5, 786..<789, 787..<788, 900..<901, 1..<900] as [Range<UInt64>] {
      let part = try codec.decodeRows(rows, of: stream)
      #expect(part == Array(whole[Int(rows.lowerBound) * 333..<Int(rows.upperBound) * 333]), "\(rows)")
    }
  }
}
