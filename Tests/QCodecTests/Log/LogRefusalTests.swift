import CQCodecKernels
import Testing

@testable import QCodec

@Suite("The log map: what is refused, and the host's environment")
struct LogRefusalTests {
  @Test(
    "Ends that no encoder writes, with their place",
    arguments: [
      (Float.nan, 1), (1, .nan), (.infinity, .infinity), (1, .infinity), (-.infinity, 1), (1, -.infinity),
      (2, 1), (-2, 1), (Float(1).nextUp, 1), (1, -2), (-1, -1), (1, -0.0), (-0.0, -0.0), (-1, -0.0),
      (0, 0), (0, 1), (-0.0, 1), (0, .leastNonzeroMagnitude), (-0.0, .greatestFiniteMagnitude),
    ] as [(Float, Float)])
  func ends(low: Float, high: Float) throws {
    for bits in Scheme.widths {
      let codec = try TensorCodec(dtype: .f32, shape: [65], scheme: logScheme(bits))
      let good = littleEndian(Float(1).bitPattern) + littleEndian(Float(2).bitPattern)
      let bad = littleEndian(low.bitPattern) + littleEndian(high.bitPattern)
      let codes = [UInt8](repeating: 0, count: (65 * bits + 7) / 8)
      #expect(throws: Never.self) { try codec.decode(good + good + good + codes) }
      for place in 0..<3 {
        let blocks = (0..<3).flatMap { $0 == place ? bad : good }
        let error = failure { () throws(QCodecError) in _ = try codec.decode(blocks + codes) }
        #expect(error?.code == .invalidScale, "\(low) to \(high)")
        #expect(error?.offset == UInt64(place * 8), "\(low) to \(high)")
      }
    }
  }

  @Test(
    "Ends that are possible",
    arguments: [
      (Float(1), 1), (-1, 1), (-0.0, 0), (.leastNonzeroMagnitude, .leastNonzeroMagnitude),
      (-.leastNonzeroMagnitude, .greatestFiniteMagnitude), (.greatestFiniteMagnitude, .greatestFiniteMagnitude),
    ] as [(Float, Float)])
  func possible(low: Float, high: Float) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [1], scheme: logScheme(8))
    let ends = littleEndian(low.bitPattern) + littleEndian(high.bitPattern)
    for code in 0..<UInt8.max { #expect(throws: Never.self) { try codec.decode(ends + [code]) } }
  }

  @Test("The nibble after an odd end")
  func nibble() throws {
    let codec = try TensorCodec(dtype: .f32, shape: [3], scheme: logScheme(4))
    let ends = littleEndian(Float(1).bitPattern) + littleEndian(Float(2).bitPattern)
    #expect(failure { () throws(QCodecError) in _ = try codec.decode(ends + [0x12, 0x31]) }?.code == .invalidCode)
    #expect(failure { () throws(QCodecError) in _ = try codec.decode(ends + [0x12]) }?.code == .shapeMismatch)
  }

  @Test("Values that it cannot hold are named, in any chunk", arguments: [0, 31, 32, 5000, 262_144, 299_999])
  func values(index: Int) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [300_000], scheme: logScheme(8, block: 512))
    for (value, code) in [
      (Float.nan, QCodecError.Code.nonFiniteValue), (-.infinity, .nonFiniteValue), (.infinity, .nonFiniteValue),
      (-1, .negativeValue), (-.leastNonzeroMagnitude, .negativeValue),
    ] {
      var values = [Float](repeating: 1, count: 300_000)
      values[index] = value
      let error = failure { () throws(QCodecError) in _ = try codec.encode(values, name: "v", threads: 2) }
      #expect(error?.code == code && error?.index == UInt64(index) && error?.tensor == "v", "\(value)")
    }
  }

  @Test("Schemes that cannot be")
  func schemes() {
    func code(_ change: (inout Scheme) -> Void) -> QCodecError.Code? {
      var scheme = logScheme(8)
      change(&scheme)
      return failure { () throws(QCodecError) in _ = try TensorLayout(dtype: .f32, shape: [64, 64], scheme: scheme) }?
        .code
    }
    #expect(code { _ in } == nil)
    for scaling in [Scheme.Scaling.tensor, .row, .column, .rank1, .block(16), .block(48), .block(131_072)] {
      #expect(code { $0.scaling = scaling } == .unsupportedScheme)
    }
    #expect(code { $0.signed = true } == .unsupportedScheme)
    #expect(code { $0.bits = 7 } == .unsupportedScheme)
    #expect(code { $0.rounding = .nearestKeepNonzero } == .unsupportedScheme)
    #expect(code { $0.rounding = .unknown } == .unsupportedScheme)
    #expect(code { $0.scaleRule = .signedExtreme } == .unsupportedScheme)
    #expect(code { $0.domain = .update } == .unsupportedScheme)
    #expect(code { $0.seed = 1 } == .unsupportedScheme)
  }

  @Test("Equal in every environment, which is restored", arguments: [(8, nil), (4, nil), (8, 3)] as [(Int, UInt64?)])
  func environments(bits: Int, seed: UInt64?) throws {
    let values = extremeBlocks.flatMap(\.values) + moments(count: 4000, signed: false, seed: 49)
    for dtype in [DType.f32, .bf16, .f16] {
      let bytes = try Narrow.bytes(values.map { dtype == .f16 ? min($0, 65_504) : $0 }, dtype: dtype)
      let codec = try TensorCodec(dtype: dtype, shape: [UInt64(values.count)], scheme: logScheme(bits, seed: seed))
      let expected = try codec.encode(bytes: bytes)
      let decoded = try codec.decode(bytes: expected.stream)
      for mode in Int32(1)...4 {
        let saved = qcodec_environment_enter()
        qcodec_environment_simulate(mode)
        let before = qcodec_environment_current()
        let encoded = try? codec.encode(bytes: bytes, threads: 2)
        let restored = try? codec.decode(bytes: expected.stream, threads: 2)
        let after = qcodec_environment_current()
        qcodec_environment_leave(saved)
        #expect(encoded?.stream == expected.stream && encoded?.statistics == expected.statistics, "mode \(mode)")
        #expect(restored == decoded && before == after, "mode \(mode)")
      }
    }
  }
}
