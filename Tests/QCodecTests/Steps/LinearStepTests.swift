import Testing

@testable import QCodec

@Suite("Steps of the linear map")
struct LinearStepTests {
  private static let values = moments(count: 1000, signed: true, seed: 81)

  @Test("Scales are n steps, elements are whole steps", arguments: [Scheme.Scaling.block(64), .tensor], [8, 4])
  func scales(scaling: Scheme.Scaling, bits: Int) throws {
    let step = bits == 8 ? 0.0042 : 0.1
    let scheme = linearScheme(scaling, bits: bits)
    let chunk = try StepChunk(Self.values, scheme, step: EncodingStep(linear: step, scheme: scheme, dtype: .f32))
    let result = try chunk.encode()
    let scale = Float(step * (bits == 8 ? 127 : 7))
    #expect((try chunk.scales(.scalar) + chunk.floats(result)).allSatisfy { $0 == scale })
    for (value, decoded) in zip(Self.values, try chunk.decode(result)) {
      let steps = Double(decoded) / step
      #expect((steps - steps.rounded()).magnitude < 1e-4)
      #expect((value - decoded).magnitude <= Float(step / 2 * (1 + 0x1p-15)))
    }
    #expect(result.statistics.guaranteedMaxAbsError < step / 2 * (1 + 0x1p-12))
    #expect(result.statistics.guaranteedMaxAbsError >= result.statistics.maxAbsError)
  }

  @Test("A block whose extreme is beyond n steps has the scale of its extreme")
  func widens() throws {
    var values = [Float](repeating: 0.01, count: 192)
    values[70] = -3
    let scheme = linearScheme()
    let chunk = try StepChunk(values, scheme, step: EncodingStep(linear: 0x1p-9, scheme: scheme, dtype: .f32))
    let result = try chunk.encode()
    #expect(chunk.floats(result) == [127 * 0x1p-9, 3, 127 * 0x1p-9])
    #expect(try chunk.decode(result)[70] == -3)
  }

  @Test("Clamped elements take the end codes", arguments: KernelLevel.allCases.filter(\.isSupported))
  func clamps(_ level: KernelLevel) throws {
    var values = [Float](repeating: 0.01, count: 192)
    (values[70], values[71], values[100]) = (-3, 1e30, 127 * 0x1p-9)
    let scheme = linearScheme()
    let step = EncodingStep(linear: 0x1p-9, scheme: scheme, dtype: .f32, beyond: .clamps)
    let chunk = try StepChunk(values, scheme, step: step)
    let result = try chunk.encode(level)
    #expect(chunk.floats(result) == [Float](repeating: 127 * 0x1p-9, count: 3))
    let codes = Array(result.payload[12...])
    #expect(codes[70] == 0 && codes[71] == 254 && codes[100] == 254)
    #expect(codes.enumerated().allSatisfy { [70, 71, 100].contains($0.offset) || $0.element == 127 + 5 })
  }

  @Test("A scale of the update domain keeps its low eight mantissa bits zero, and codes are steps of quotients")
  func update() throws {
    let (m, v) = adamMoments(512, seed: 82)
    let divisors = v.map { $0 > 0 ? $0.squareRoot() : 1 }
    let scheme = linearScheme(domain: .update)
    let step = EncodingStep(linear: 0.0123, scheme: scheme, dtype: .f32)
    let chunk = try StepChunk(m, scheme, step: step, divisors: divisors)
    let result = try chunk.encode()
    let scale = UpdateReference.rounded(127 * 0.0123)
    for (block, own) in chunk.floats(result).enumerated() {
      let elements = block * 64..<(block + 1) * 64
      let extreme = elements.map { (m[$0] / divisors[$0]).magnitude }.max() ?? 0
      #expect(own == max(scale, UpdateReference.rounded(extreme)))
    }
    for (index, decoded) in try chunk.decode(result).enumerated() {
      let error = (Double(m[index]) - Double(decoded)).magnitude / Double(divisors[index])
      #expect(error <= result.statistics.guaranteedMaxRelError)
    }
  }

  @Test("No scale exceeds what the dtype holds; what comes to nothing leaves the choice to the extremes")
  func limits() throws {
    for (dtype, most) in [(DType.f16, 65_504), (.bf16, 0x1.FEp127), (.f32, .greatestFiniteMagnitude)]
      as [(DType, Float)]
    {
      let scheme = linearScheme()
      let chunk = try StepChunk(
        [1, 2, 3], scheme, step: .init(linear: 1e300, scheme: scheme, dtype: dtype), dtype: dtype)
      #expect(chunk.floats(try chunk.encode()) == [most])
    }
    let scheme = linearScheme(domain: .update)
    #expect(EncodingStep(linear: 1e300, scheme: scheme, dtype: .f32).applied(to: 1) == Float(bitPattern: 0x7F7F_FF00))
    #expect(EncodingStep(linear: 1e-300, scheme: scheme, dtype: .f32).applied(to: 0.5) == 0.5)
  }

  @Test("Steps that no scheme has are refused")
  func refusals() {
    let log = logScheme(8)
    let bad: [(QuantizationStep, Scheme)] = [
      (.absolute(0), linearScheme()), (.rms(-1), linearScheme()), (.rms(.nan), linearScheme()),
      (.absolute(.infinity), linearScheme()), (.absolute(1), log), (.octaves(1), linearScheme()), (.octaves(8.5), log),
      (.rms(1), Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(64))),
    ]
    for (step, scheme) in bad {
      #expect(failure { () throws(QCodecError) in try step.check(scheme) }?.code == .unsupportedScheme)
    }
    #expect(failure { () throws(QCodecError) in try QuantizationStep.octaves(8).check(log) } == nil)
    #expect(failure { () throws(QCodecError) in try QuantizationStep.rms(0.3).check(linearScheme(.row)) } == nil)
  }
}
