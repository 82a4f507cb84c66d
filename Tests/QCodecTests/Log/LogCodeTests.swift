import Testing

@testable import QCodec

@Suite("The log map: codes and values")
struct LogCodeTests {
  @Test("K: every code decodes to the value of the definition", arguments: Scheme.widths)
  func everyCode(bits: Int) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [256], scheme: logScheme(bits, block: 256))
    let codes = (0..<256).map { UInt8($0 % (1 << bits)) }
    for (name, values) in extremeBlocks {
      let block = LogReference(values, bits: bits)
      #expect(block.steps == 1 << bits - 1 - (block.hasZeros ? 1 : 0))
      let ends = littleEndian(block.low.bitPattern) + littleEndian(block.high.bitPattern)
      let decoded = try codec.decode(ends + packedCodes(codes, bits: bits))
      for (code, value) in zip(codes, decoded) {
        let wanted = block.low == 0 ? 0 : block.value(code)
        #expect(value.bitPattern == wanted.bitPattern, "\(name), code \(code)")
      }
      // Values do not descend, and the last is the greatest.
      let sorted = decoded.prefix(1 << bits)
      #expect(zip(sorted, sorted.dropFirst()).allSatisfy { $0 <= $1 }, "\(name)")
      #expect(sorted.last == block.high, "\(name)")
    }
  }

  @Test("Codes do not descend as x grows", arguments: Scheme.widths)
  func monotone(bits: Int) throws {
    for (name, values) in extremeBlocks where values.contains(where: { $0 > 0 }) {
      let reference = LogReference(values, bits: bits)
      let block = LogBlock(low: reference.low, high: reference.high, bits: bits)
      var patterns: Set<Int> = []
      for code in 0...reference.steps {
        // About every entry and every threshold.
        let step = Double(reference.span) / Double(reference.steps)
        for place in [Double(code), Double(code) + 0.5] {
          for delta in -2...2 { patterns.insert(Int(place * step) + delta) }
        }
      }
      let x = patterns.filter { (0...reference.span).contains($0) }.sorted()
        .map { Float(bitPattern: UInt32($0 + reference.base)) }
      let codes = codes(of: x, block: block)
      #expect(codes == x.map(reference.code), "\(name)")
      #expect(zip(codes, codes.dropFirst()).allSatisfy { $0 <= $1 }, "\(name)")
      #expect(
        codes.first == block.first
          && codes.last == UInt8(reference.steps) &* (reference.span == 0 ? 0 : 1) + block.first)
    }
  }

  private func codes(of x: [Float], block: LogBlock) -> [UInt8] {
    var codes = [UInt8](repeating: 0, count: x.count)
    unsafe x.withUnsafeBufferPointer { x in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe ScalarKernels.logEncode(x.baseAddress!, count: x.count, block: block, into: codes.baseAddress!)
      }
    }
    return codes
  }

  @Test("Encoding what was decoded changes neither codes nor values over 100 cycles", arguments: Scheme.widths)
  func idempotent(bits: Int) throws {
    let seed: UInt64 = 44
    var generator = SeededGenerator(seed: seed)
    var values = extremeBlocks.flatMap(\.values)
    values += moments(count: 2048, signed: false, seed: seed)
    // Every pattern alike: every magnitude that there is.
    for _ in 0..<4096 { values.append(Float(bitPattern: UInt32.random(in: 0...0x7F7F_FFFF, using: &generator))) }
    // Heavy tails: products of uniform numbers.
    for _ in 0..<2048 {
      values.append((0..<6).reduce(Float(1)) { x, _ in x * Float.random(in: 0..<1, using: &generator) })
    }
    for block in [32, 512] {
      let codec = try TensorCodec(dtype: .f32, shape: [UInt64(values.count)], scheme: logScheme(bits, block: block))
      let first = try codec.encode(values).stream
      let decoded = try codec.decode(first)
      var current = decoded
      for cycle in 1...100 {
        let stream = try codec.encode(current).stream
        current = try codec.decode(stream)
        guard stream == first, current == decoded else {
          Issue.record("cycle \(cycle), block \(block), seed \(seed)")
          break
        }
      }
    }
  }

  @Test("An element's code depends on its own block alone", arguments: Scheme.widths)
  func locality(bits: Int) throws {
    let values = moments(count: 96, signed: false, seed: 45)
    let codec = try TensorCodec(dtype: .f32, shape: [96], scheme: logScheme(bits))
    let whole = try codec.decode(codec.encode(values).stream)
    var changed = values
    for index in 32..<64 { changed[index] = Float(index) * 1e30 }
    let other = try codec.decode(codec.encode(changed).stream)
    #expect(Array(other[..<32]) == Array(whole[..<32]) && Array(other[64...]) == Array(whole[64...]))
  }
}
