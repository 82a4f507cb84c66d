import Testing

@testable import QCodec
@testable import QVerify

@Suite("The verifier's own conversions")
struct PlainFloatTests {
  @Test("Every pattern has the value that the codec reads", arguments: [DType.f16, .bf16])
  func everyPattern(dtype: DType) {
    for pattern in 0...UInt16.max {
      let own = PlainFloat.value([UInt8(pattern & 255), UInt8(pattern >> 8)], 0, dtype: dtype)
      let codec = Double(Narrow.value(UInt32(pattern), dtype: dtype))
      guard own.isNaN ? codec.isNaN : own.bitPattern == codec.bitPattern else {
        Issue.record("pattern \(pattern): \(own), by the codec \(codec)")
        return
      }
    }
  }

  @Test("Rounding equals the codec's on and beside every value and every middle", arguments: [DType.f16, .bf16])
  func rounding(dtype: DType) {
    for pattern in 0...UInt16.max {
      let value = Narrow.value(UInt32(pattern), dtype: dtype)
      let next = Narrow.value(UInt32(pattern &+ 1), dtype: dtype)
      let middle = Float((Double(value) + Double(next)) / 2)
      for x in [value, value.nextDown, value.nextUp, middle, middle.nextDown, middle.nextUp] {
        let (own, codec) = (PlainFloat.rounded(x, to: dtype), Double(Narrow.nearest(x, dtype: dtype)))
        guard own.isNaN ? codec.isNaN : own.bitPattern == codec.bitPattern else {
          Issue.record("\(x): \(own), by the codec \(codec)")
          return
        }
      }
    }
  }

  @Test("float32 is not rounded; overflow begins half a unit above the largest value")
  func ends() {
    #expect(PlainFloat.rounded(0x1.FFFFFEp127, to: .f32) == 0x1.FFFFFEp127)
    #expect(PlainFloat.rounded(.leastNonzeroMagnitude, to: .f32) == 0x1p-149)
    #expect(PlainFloat.rounded(65_519.996, to: .f16) == 65_504)
    #expect(PlainFloat.rounded(-65_520, to: .f16) == -.infinity)
    #expect(PlainFloat.rounded(0x1.FEFFFEp127, to: .bf16) == 0x1.FEp127)
    #expect(PlainFloat.rounded(0x1.FFp127, to: .bf16) == .infinity)
    #expect(PlainFloat.rounded(0x1p-25, to: .f16) == 0)
    #expect(PlainFloat.rounded(Float(0x1p-25).nextUp, to: .f16) == 0x1p-24)
  }

  @Test("Any element as a number, for messages")
  func numbers() {
    let bytes: [UInt8] = [0xFF] + [UInt8](repeating: 0, count: 6) + [0xC0] + littleEndian(Float(1.5).bitPattern)
    #expect(PlainFloat.number(bytes, 0, dtype: .i8) == -1)
    #expect(PlainFloat.number(bytes, 0, dtype: .u8) == 255)
    #expect(PlainFloat.number(bytes, 3, dtype: .i16) == -16_384)
    #expect(PlainFloat.number(bytes, 0, dtype: .u32) == 255)
    #expect(PlainFloat.number(bytes, 0, dtype: .i64) == Double(-4_611_686_018_427_387_649 as Int64))
    #expect(PlainFloat.number(bytes, 0, dtype: .u64) == Double(13_835_058_055_282_163_967 as UInt64))
    #expect(PlainFloat.number(bytes, 0, dtype: .f64) == -(2 + 0xFF * 0x1p-51))
    #expect(PlainFloat.number(bytes, 2, dtype: .f32) == 1.5)
    #expect(PlainFloat.number(Array(bytes[8...]) + [1, 2, 3, 4], 0, dtype: .c64) == 1.5)
    #expect(PlainFloat.number(bytes, 7, dtype: .bool) == 0xC0)
    #expect(PlainFloat.number(bytes, 0, dtype: .f8e4m3) == 255)
  }
}
