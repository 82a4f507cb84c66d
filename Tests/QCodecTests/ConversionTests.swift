import Testing

@testable import QCodec

@Suite("Narrow floats")
struct ConversionTests {
  @Test("Every float16 is read exactly and written back")
  func everyHalf() {
    for bits in 0...UInt16.max where bits & 0x7FFF <= 0x7C00 {
      let value = ScalarKernels.float(half: bits)
      if bits & 0x7FFF < 0x7C00 { #expect(Double(value) == Narrow.value(half: bits)) }
      #expect(ScalarKernels.half(value) == bits)
    }
    #expect(ScalarKernels.half(.nan) & 0x7C00 == 0x7C00 && ScalarKernels.half(.nan) & 0x3FF != 0)
    #expect(ScalarKernels.float(half: 0x7E00).isNaN)
  }

  @Test("Between float16 neighbours the nearer is taken, the even one of two")
  func halfRounding() {
    for bits in 0..<UInt16(0x7BFF) {
      let low = Double(ScalarKernels.float(half: bits))
      let high = Double(ScalarKernels.float(half: bits + 1))
      let middle = Float((low + high) / 2)
      #expect(ScalarKernels.half(middle) == (bits % 2 == 0 ? bits : bits + 1))
      #expect(ScalarKernels.half(middle.nextDown) == bits)
      #expect(ScalarKernels.half(middle.nextUp) == bits + 1)
      #expect(ScalarKernels.half(-middle.nextUp) == (bits + 1) | 0x8000)
    }
    #expect(ScalarKernels.half(65_519.996) == 0x7BFF)
    #expect(ScalarKernels.half(65_520) == 0x7C00)
  }

  @Test("bfloat16 rounds to nearest even")
  func brain() {
    for bits in 0..<UInt16(0x7F7F) {
      let middle = Float(bitPattern: UInt32(bits) << 16 | 0x8000)
      #expect(ScalarKernels.bfloat(middle) == (bits % 2 == 0 ? bits : bits + 1))
      #expect(ScalarKernels.bfloat(middle.nextDown) == bits)
      #expect(ScalarKernels.bfloat(middle.nextUp) == bits + 1)
    }
    #expect(ScalarKernels.bfloat(.nan) & 0x7FFF > 0x7F80)
    #expect(ScalarKernels.bfloat(.greatestFiniteMagnitude) == 0x7F80)
  }
}
