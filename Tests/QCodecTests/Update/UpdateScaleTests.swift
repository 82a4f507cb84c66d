import Testing

@testable import QCodec

@Suite("The update domain: scales")
struct UpdateScaleTests {
  @Test(
    "The nearest float whose low 8 bits are zero, ties to even", arguments: [0, 1, 0x7F, 0x80, 0xC8, 0xFE] as [UInt32])
  func rounding(exponent: UInt32) {
    for upper in [0, 1, 2, 0x7FFE, 0x7FFF] as [UInt32] {
      for low in 0...0xFF as ClosedRange<UInt32> {
        let value = Float(bitPattern: exponent << 23 | upper << 8 | low)
        // Half way between neighbours the one with an even ninth bit is taken.
        let up = low > 0x80 || (low == 0x80 && upper % 2 == 1)
        let wanted = (exponent << 23 | upper << 8) + (up ? 0x100 : 0)
        #expect(ScalarKernels.rounded(scale: value).bitPattern == wanted)
        // What rounds to zero loses its sign.
        #expect(ScalarKernels.rounded(scale: -value).bitPattern == (wanted == 0 ? 0 : wanted | 0x8000_0000))
        if wanted < 0x7F80_0000 { #expect(UpdateReference.rounded(value).bitPattern == wanted) }
      }
    }
  }

  @Test("The largest float has no such neighbour")
  func overflow() {
    #expect(ScalarKernels.rounded(scale: .greatestFiniteMagnitude) == .infinity)
    #expect(ScalarKernels.rounded(scale: Float(bitPattern: 0x7F7F_FF80)) == .infinity)
    #expect(ScalarKernels.rounded(scale: Float(bitPattern: 0x7F7F_FF7F)) == Float(bitPattern: 0x7F7F_FF00))
  }

  @Test("A quotient beyond the rounded scale takes the end code", arguments: signedMaps)
  func clamping(map: Scheme.Map, bits: Int) throws {
    // 1 + 2^-17 rounds down to 1, 1 − 2^-24·127 likewise.
    for extreme in [Float(bitPattern: 0x3F80_0040), -Float(bitPattern: 0x3F80_0040)] {
      let codec = try MomentCodec(shape: [2], first: updateScheme(map, bits), second: logScheme(8))
      let (first, second) = try codec.encode(first: [extreme, 0.25], second: [1, 1])
      let isSigned = map == .dynamic || map == .cubic
      let scale: Float = isSigned && extreme < 0 ? -1 : 1
      #expect(Array(first[..<4]) == littleEndian(scale.bitPattern))
      let decoded = try codec.decodeFirst(first, second: second)
      #expect(decoded[0] == (extreme < 0 ? -1 : 1))
    }
  }

  @Test("A scale that rounds to zero: +0 out, with the code of +0", arguments: signedMaps)
  func zeroScale(map: Scheme.Map, bits: Int) throws {
    let values = [Float(bitPattern: 0x7F), -Float(bitPattern: 0x7F), -Float(bitPattern: 3), 0, -0.0]
    for rounding in [Scheme.Rounding.nearest, .nearestKeepNonzero, .stochastic] {
      let scheme = updateScheme(map, bits, rounding: rounding)
      let codec = try MomentCodec(shape: [5], first: scheme, second: logScheme(8))
      // v̂ of 1 and of 0 divide alike.
      let (first, second) = try codec.encode(first: values, second: [1, 1, 0, 0, 1])
      let nearest = try MomentCodec(shape: [5], first: updateScheme(map, bits), second: logScheme(8))
        .encode(first: [Float](repeating: 0, count: 5), second: [1, 1, 0, 0, 1])
      if rounding != .stochastic { #expect(first == nearest.first) }
      #expect(Array(first[..<4]) == [0, 0, 0, 0])
      #expect(try codec.decodeFirst(first, second: second).map(\.bitPattern) == [0, 0, 0, 0, 0])
    }
    // One more unit, and it is no zero.
    let codec = try MomentCodec(shape: [1], first: updateScheme(map, bits), second: logScheme(8))
    let (first, _) = try codec.encode(first: [Float(bitPattern: 0x81)], second: [0])
    #expect(Array(first[..<4]) == [0, 1, 0, 0])
  }
}
