import CQCodecKernels
import QCodec
import Testing

@Suite("The floating-point environment of the host")
struct EnvironmentTests {
  /// Subnormal extremes beside normal ones: what flushing or another rounding would change.
  private static let values: [Float] = (0..<4096).map { index in
    let exponent = index % 149 - 148
    return Float(sign: index % 3 == 0 ? .minus : .plus, exponent: exponent, significand: 1 + Float(index % 7) / 8)
  }

  @Test(
    "Every entry gives the same bytes under each environment, and restores it",
    arguments: presetSchemes + [
      Scheme(map: .linear, bits: 8, signed: true, scaling: .row),
      Scheme(map: .normal, bits: 4, signed: true, scaling: .column),
      Scheme(map: .dynamic, bits: 8, signed: true, scaling: .tensor, rounding: .stochastic, seed: 3),
    ])
  func entries(scheme: Scheme) throws {
    let values = scheme.signed ? Self.values : Self.values.map(\.magnitude)
    for dtype in [DType.f32, .bf16, .f16] {
      let bytes = try Narrow.bytes(values, dtype: dtype)
      let codec = try TensorCodec(dtype: dtype, shape: [64, 64], scheme: scheme)
      let expected = try codec.encode(bytes: bytes)
      let decoded = try codec.decode(bytes: expected.stream)
      for mode in Int32(1)...4 {
        for threads in [1, 2] {
          let saved = qcodec_environment_enter()
          qcodec_environment_simulate(mode)
          let before = qcodec_environment_current()
          let encoded = try? codec.encode(bytes: bytes, threads: threads)
          let between = qcodec_environment_current()
          let restored = try? codec.decode(bytes: expected.stream, threads: threads)
          let after = qcodec_environment_current()
          qcodec_environment_leave(saved)
          #expect(encoded?.stream == expected.stream, "\(dtype) mode \(mode)")
          #expect(encoded?.statistics == expected.statistics)
          #expect(restored == decoded)
          #expect(between == before && after == before)
        }
      }
    }
  }
}
