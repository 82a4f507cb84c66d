import QCodec
import Testing

@Suite("What the codec refuses")
struct RefusalTests {
  @Test("Schemes that cannot be")
  func schemes() {
    func code(_ scheme: Scheme, dtype: DType = .f32, shape: [UInt64] = [64, 64]) -> QCodecError.Code? {
      failure { () throws(QCodecError) in _ = try TensorLayout(dtype: dtype, shape: shape, scheme: scheme) }?.code
    }
    let good = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    #expect(code(good) == nil)
    #expect(code(good, dtype: .f64) == .unsupportedScheme)
    #expect(code(good, shape: [1 << 40, 1 << 40]) == .limitExceeded)
    for size in [0, 16, 48, 131_072, -32] {
      #expect(code(Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(size))) == .unsupportedScheme)
    }
    #expect(code(Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor, seed: 1)) == .unsupportedScheme)
    #expect(
      code(Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor, scaleRule: .signedExtreme))
        == .unsupportedScheme)
    #expect(code(Scheme(map: .custom, bits: 8, signed: true, scaling: .tensor)) == .unsupportedScheme)
  }

  @Test("Fallbacks of scalings that a shape cannot have")
  func fallbacks() throws {
    func resolved(_ scaling: Scheme.Scaling, bits: Int, _ shape: [UInt64]) throws -> Scheme.Scaling {
      let scheme = Scheme(map: .linear, bits: bits, signed: false, scaling: scaling)
      return try TensorLayout(dtype: .f32, shape: shape, scheme: scheme).scheme.scaling
    }
    #expect(try resolved(.row, bits: 8, [4096]) == .block(256))
    #expect(try resolved(.column, bits: 4, [4096]) == .block(128))
    #expect(try resolved(.row, bits: 4, [4096, 1]) == .row)
    #expect(try resolved(.rank1, bits: 4, [4096]) == .block(128))
    #expect(try resolved(.rank1, bits: 8, [1, 4096, 1]) == .block(128))
    #expect(try resolved(.rank1, bits: 4, [64, 1, 64]) == .rank1)
    // 64 + 63 maxima of 4,032 elements are more than one in 32.
    #expect(try resolved(.rank1, bits: 4, [64, 63]) == .block(128))
  }

  @Test(
    "Values that a scheme cannot hold are named, in any chunk and under every scaling",
    arguments: [
      Scheme.Scaling.tensor, .block(64), .row, .column, .rank1,
    ])
  func values(scaling: Scheme.Scaling) throws {
    let count = 640 * 512
    let scheme = Scheme(map: .linear, bits: 8, signed: false, scaling: scaling)
    let codec = try TensorCodec(dtype: .f32, shape: [640, 512], scheme: scheme)
    for index in [0, 5000, 262_144, count - 1] {
      for (value, code) in [
        (Float.nan, QCodecError.Code.nonFiniteValue), (.infinity, .nonFiniteValue), (-1, .negativeValue),
      ] {
        var values = [Float](repeating: 1, count: count)
        values[index] = value
        let error = failure { () throws(QCodecError) in _ = try codec.encode(values, name: "v", threads: 2) }
        #expect(error?.code == code)
        #expect(error?.index == UInt64(index))
        #expect(error?.tensor == "v")
      }
    }
    // −0 is not negative.
    _ = try codec.encode([Float](repeating: -0.0, count: count))
  }

  @Test("Buffers of another size, scales and nibbles that no encoder writes")
  func bytes() throws {
    let scheme = Scheme(map: .linear, bits: 4, signed: true, scaling: .block(32))
    let codec = try TensorCodec(dtype: .f32, shape: [3], scheme: scheme)
    func code(_ bytes: [UInt8]) -> QCodecError.Code? {
      failure { () throws(QCodecError) in _ = try codec.decode(bytes) }?.code
    }
    #expect(code([0, 0, 0x80, 0x3F, 0x12, 0x30]) == nil)
    #expect(code([0, 0, 0x80, 0x3F, 0x12]) == .shapeMismatch)
    #expect(code([0, 0, 0x80, 0x3F, 0x12, 0x31]) == .invalidCode)
    #expect(code([0, 0, 0x80, 0xBF, 0x12, 0x30]) == .invalidScale)
    #expect(code([0, 0, 0, 0x80, 0x12, 0x30]) == .invalidScale)
    #expect(code([0, 0, 0xC0, 0x7F, 0x12, 0x30]) == .invalidScale)
    #expect(code([0, 0, 0x80, 0x7F, 0x12, 0x30]) == .invalidScale)
    // The unused code of the 15 entries is padding, which decoders accept.
    #expect(code([0, 0, 0x80, 0x3F, 0xFF, 0xF0]) == nil)
    #expect(failure { () throws(QCodecError) in _ = try codec.encode([1, 2]) }?.code == .shapeMismatch)
  }

  @Test("Any bit after the last code that is not zero", arguments: Scheme.widths)
  func padding(bits: Int) throws {
    let scheme = Scheme(map: .linear, bits: bits, signed: true, scaling: .block(32))
    for count in 1...9 {
      let codec = try TensorCodec(dtype: .f32, shape: [UInt64(count)], scheme: scheme)
      let stream = try codec.encode([Float](repeating: 1, count: count)).stream
      for bit in 0..<8 {
        var changed = stream
        changed[stream.count - 1] ^= 1 << UInt8(bit)
        let error = failure { () throws(QCodecError) in _ = try codec.decode(changed) }
        // The lowest bits of the last byte are behind the last code.
        #expect((error?.code == .invalidCode) == (bit < (8 - count * bits % 8) % 8), "\(count) codes, bit \(bit)")
      }
    }
  }

  @Test("Widths that no scheme has")
  func widths() {
    for bits in [-1, 0, 1, 7, 9, 16, 64] {
      for scheme in [
        Scheme(map: .linear, bits: bits, signed: true, scaling: .block(64)),
        Scheme(map: .cubic, bits: bits, signed: true, scaling: .tensor),
        Scheme(map: .log, bits: bits, signed: false, scaling: .block(64)),
      ] {
        let error = failure { () throws(QCodecError) in _ = try TensorLayout(dtype: .f32, shape: [64], scheme: scheme) }
        #expect(error?.code == .unsupportedScheme)
      }
    }
  }

  @Test("Subnormal and huge scales work", arguments: [Float.leastNonzeroMagnitude, 0x1p-140, .greatestFiniteMagnitude])
  func scales(extreme: Float) throws {
    for scheme in allSchemes() {
      let values = [extreme, extreme / 2, 0] + (scheme.signed ? [-extreme] : [])
      let codec = try TensorCodec(dtype: .f32, shape: [UInt64(values.count)], scheme: scheme)
      let (stream, statistics) = try codec.encode(values)
      let decoded = try codec.decode(stream)
      #expect(decoded[0] == extreme)
      for (value, result) in zip(values, decoded) {
        #expect((Double(value) - Double(result)).magnitude <= statistics.guaranteedMaxAbsError)
      }
    }
  }
}
