import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

@Suite("Verification of the log map")
struct LogVerificationTests {
  /// Blocks of 32 that a dtype holds, over all of its magnitudes, some with zeros.
  private static func values(_ dtype: DType, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    let top: UInt32 = dtype == .f32 ? 0x7F7F_FFFF : dtype == .bf16 ? 0x7F7F : 0x7BFF
    return (0..<64).flatMap { block -> [Float] in
      let base = UInt32.random(in: 1...top, using: &generator)
      let width = UInt32(1) << UInt32.random(in: 0...(31 - UInt32(top.leadingZeroBitCount)), using: &generator)
      return (0..<32).map { index -> Float in
        if block % 3 == 1, index % 7 == 2 { return 0 }
        if block == 0 { return Narrow.value(top / 31 * UInt32(index), dtype: dtype) }
        return Narrow.value(UInt32.random(in: base...min(top, base &+ width), using: &generator), dtype: dtype)
      }
    }
  }

  @Test(
    "Recomputed bounds are the recorded ones to the bit, and hold",
    arguments: Scheme.widths, [Scheme.Rounding.nearest, .stochastic])
  func agree(bits: Int, rounding: Scheme.Rounding) throws {
    for dtype in quantizableDTypes {
      for seed in [61, 62, 63] as [UInt64] {
        let scheme = Scheme(
          map: .log, bits: bits, signed: false, scaling: .block(32), rounding: rounding,
          seed: rounding == .stochastic ? 7 : 0)
        let sample = Sample("v", dtype: dtype, Self.values(dtype, seed: seed), scheme: scheme)
        let file = try checkpoint([sample])
        for report in [try verify(file), try verify(file, against: [sample], threads: 2)] {
          let tensor = report.tensors[0]
          #expect(report.ok, "\(String(describing: report.firstViolation)), seed \(seed)")
          #expect(tensor.recomputedGuarantee == tensor.guaranteedMaxAbsError, "seed \(seed)")
          #expect(tensor.recomputedRelGuarantee == tensor.guaranteedMaxRelError, "seed \(seed)")
          #expect(try #require(tensor.guaranteedMaxRelError) > 0)
        }
      }
    }
  }

  @Test("Values are those of the codec, code by code", arguments: Scheme.widths, quantizableDTypes)
  func values(bits: Int, dtype: DType) throws {
    let scheme = Scheme(map: .log, bits: bits, signed: false, scaling: .block(32))
    let values = Self.values(dtype, seed: 64)
    let codec = try TensorCodec(dtype: dtype, shape: [UInt64(values.count)], scheme: scheme)
    let stream = try codec.encode(exact: values).stream
    let decoded = try codec.decode(bytes: stream)
    let plain = PlainChunk(layout: codec.layout, scales: [], payload: stream, chunk: 0)
    for index in values.indices {
      #expect(plain.value(index, divisor: nil) == PlainFloat.value(decoded, index, dtype: dtype), "element \(index)")
    }
  }

  @Test("An element at its relative bound passes, beyond it or of another sign it does not")
  func relative() throws {
    // Of two ends and 253 steps between; what is far below the largest is bound by its ratio.
    var values = (0..<64).map { Float(sign: .plus, exponent: $0 / 4 - 8, significand: 1 + Float($0 % 4) / 4) }
    values[40] = 0
    let sample = Sample("v", values, scheme: log8)
    let file = try checkpoint([sample])
    let honest = try #require(try verify(file).tensors[0].guaranteedMaxRelError)
    let decoded = try CheckpointReader(source: MemorySource(bytes: file)).bytes(ofTensor: 0)
    let got = PlainFloat.value(decoded, 1, dtype: .f32)
    for (value, reason) in [
      (Float(got * (1 + 4 * honest)), "an element exceeds its bound"), (0, "an element exceeds its bound"),
      (-Float(got), "an element exceeds its bound"),
    ] {
      let report = try verify(file, against: [sample.altered(1, to: value)])
      #expect(report.violations == 1 && report.firstViolation?.index == 1, "\(value)")
      #expect(report.firstViolation?.reason == reason, "\(value)")
    }
    // What was zero and decodes to zero was not.
    let zero = try verify(file, against: [sample.altered(40, to: .leastNonzeroMagnitude)])
    #expect(zero.violations == 1 && zero.firstViolation?.index == 40)
    #expect(zero.firstViolation?.got == 0)
    #expect(try verify(file, against: [sample.altered(40, to: -0.0)]).ok)
  }

  @Test("A zero that decodes to something is a violation however small")
  func createdFromZero() throws {
    let least = Float.leastNonzeroMagnitude
    let sample = Sample("v", [least, 2 * least, 3 * least], scheme: log8)
    let file = try checkpoint([sample])
    for value in [Float(0), -least] {
      let report = try verify(file, against: [sample.altered(0, to: value)])
      #expect(report.violations == 1 && report.firstViolation?.index == 0, "\(value)")
    }
  }

  @Test("Within what its code may be off by, a zero that became something exceeds the relative bound")
  func relativeAlone() throws {
    let least = Float.leastNonzeroMagnitude
    let sample = Sample("v", [least, 0x1p-126], scheme: log8)
    let report = try verify(checkpoint([sample]), against: [sample.altered(0, to: 0)])
    #expect(
      report.firstViolation
        == .init(
          tensor: "v", index: 0, expected: 0, got: 0x1p-149, bound: 0, reason: "an element exceeds its relative bound"))
    #expect(report.violations == 1)
  }

  @Test("Recorded guarantees may be larger than what is recomputed, not smaller", arguments: quantizableDTypes)
  func forged(dtype: DType) throws {
    let sample = Sample("v", dtype: dtype, Self.values(dtype, seed: 65), scheme: log4)
    let file = try checkpoint([sample])
    let tensor = try verify(file).tensors[0]
    let absolute = try #require(tensor.guaranteedMaxAbsError)
    let relative = try #require(tensor.guaranteedMaxRelError)
    for (honest, name) in [(absolute, "guarantee"), (relative, "relative guarantee")] {
      for against in [nil, [sample]] {
        var forgery = try Forgery(file)
        forgery.replaceInDirectory(littleEndian(honest.bitPattern), by: littleEndian(honest.nextUp.bitPattern))
        #expect(try verify(forgery.bytes, against: against).ok)
        forgery = try Forgery(file)
        forgery.replaceInDirectory(littleEndian(honest.bitPattern), by: littleEndian(honest.nextDown.bitPattern))
        let report = try verify(forgery.bytes, against: against)
        #expect(report.violations == 1)
        #expect(
          report.firstViolation
            == .init(
              tensor: "v", index: nil, expected: nil, got: honest.nextDown, bound: honest,
              reason: "the recorded \(name) is smaller than what codes and scales admit"))
      }
    }
  }

  @Test("A larger upper end admits more than is recorded")
  func wider() throws {
    let sample = Sample("v", [1, 2, 3, 4], scheme: log8)
    var forgery = try Forgery(checkpoint([sample]))
    forgery.replace(inChunk: 0, at: 4, by: littleEndian(Float(8).bitPattern))
    let report = try verify(forgery.bytes)
    #expect(report.violations == 2)
    #expect(report.firstViolation?.reason == "the recorded guarantee is smaller than what codes and scales admit")
    // The ends are what every element is told from.
    #expect(try verify(forgery.bytes, against: [sample]).violations > 2)
  }
}
