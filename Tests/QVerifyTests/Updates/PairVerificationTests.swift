import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

private let roundings: [Scheme.Rounding] = [.nearest, .nearestKeepNonzero, .stochastic]

private let signedMaps: [(map: Scheme.Map, bits: Int)] = [
  (.dynamic, 8), (.dynamic, 4), (.linear, 8), (.linear, 4), (.linearNoZero, 8), (.linearNoZero, 4), (.normal, 4),
  (.cubic, 8), (.cubic, 4), (.cubic, 6), (.linear, 3), (.cubic, 2),
]

@Suite("Verification of the update domain")
struct PairVerificationTests {
  private static let scalings: [Scheme.Scaling] = [.tensor, .block(32), .row, .column, .rank1]

  @Test("Recomputed bounds are the recorded ones to the bit, and hold", arguments: signedMaps, roundings)
  func agree(map: (map: Scheme.Map, bits: Int), rounding: Scheme.Rounding) throws {
    for (index, dtype) in quantizableDTypes.enumerated() {
      let pairs = Self.scalings.enumerated().map { place, scaling in
        PairSample(
          pairValues(66 * 67, dtype: dtype, seed: UInt64(place + 66)), prefix: "\(place).", shape: [66, 67],
          dtype: dtype, first: updateScheme(map.map, map.bits, scaling, rounding: rounding),
          second: place % 2 == 0 ? log8 : Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))
      }
      let file = try pairFile(pairs)
      for report in [try verify(file), try verify(file, against: pairs.flatMap(\.samples), threads: index + 1)] {
        #expect(report.ok, "\(dtype.name): \(String(describing: report.firstViolation))")
        #expect(report.tensors.count == 10)
        for tensor in report.tensors {
          #expect(tensor.recomputedGuarantee == tensor.guaranteedMaxAbsError, "\(dtype.name), \(tensor.name)")
          #expect(tensor.recomputedRelGuarantee == tensor.guaranteedMaxRelError, "\(dtype.name), \(tensor.name)")
        }
      }
      // The measured error of every first moment relative to √v̂ is within its guarantee.
      #expect(try verify(file).tensors.filter { $0.guaranteedMaxRelError != nil }.count >= 5)
    }
  }

  @Test("An element at its bound passes, the next float beyond it does not")
  func edge() throws {
    let pair = PairSample(pairValues(300, seed: 67))
    let file = try pairFile([pair])
    let reader = try CheckpointReader(source: MemorySource(bytes: file))
    let (m, v) = (try PlainTensor(reader, 0).chunk(0), try PlainTensor(reader, 1).chunk(0))
    for index in [0, 63, 64, 299] {
      let bound = try #require(
        SchemeBound(layout: m.layout).bounds(code: m.code(index), scale: m.scale(index), divisor: v.divisor(index)))
      let got = m.value(index, divisor: v.divisor(index))
      var most = Float(got + bound.absolute)
      if Double(most) - got > bound.absolute { most = most.nextDown }
      let altered = { (value: Float) in [pair.first.altered(index, to: value), pair.second] }
      #expect(try verify(file, against: altered(most)).ok)
      let report = try verify(file, against: altered(most.nextUp))
      #expect(report.violations == 1)
      #expect(
        report.firstViolation
          == .init(
            tensor: "exp_avg", index: UInt64(index), expected: Double(most.nextUp), got: got, bound: bound.absolute,
            reason: "an element exceeds its bound"))
    }
  }

  @Test("Recorded guarantees may be larger than what is recomputed, not smaller")
  func forged() throws {
    let pair = PairSample(pairValues(500, seed: 68))
    let file = try pairFile([pair])
    let tensor = try verify(file).tensors[0]
    let honest = [try #require(tensor.guaranteedMaxAbsError), try #require(tensor.guaranteedMaxRelError)]
    for (value, name) in zip(honest, ["guarantee", "relative guarantee"]) {
      var forgery = try Forgery(file)
      forgery.replaceInDirectory(littleEndian(value.bitPattern), by: littleEndian(value.nextUp.bitPattern))
      #expect(try verify(forgery.bytes, against: pair.samples).ok)
      forgery = try Forgery(file)
      forgery.replaceInDirectory(littleEndian(value.bitPattern), by: littleEndian(value.nextDown.bitPattern))
      let report = try verify(forgery.bytes)
      #expect(report.violations == 1 && report.firstViolation?.tensor == "exp_avg")
      #expect(report.firstViolation?.reason == "the recorded \(name) is smaller than what codes and scales admit")
      #expect(report.firstViolation?.got == value.nextDown && report.firstViolation?.bound == value)
    }
  }

  @Test("Other ends of the second moment make another first moment")
  func secondMoment() throws {
    let pair = PairSample(pairValues(500, seed: 69))
    var forgery = try Forgery(pairFile([pair]))
    // The upper end of the block of v four times as high: √v̂ grows, and with it what m may be off by.
    let top = try #require(values(pair.second).max())
    forgery.replace(inChunk: 0, at: 4, by: littleEndian((top * 4).bitPattern))
    let alone = try verify(forgery.bytes)
    #expect(alone.tensors.map { $0.violations > 0 } == [true, true])
    #expect(alone.firstViolation?.tensor == "exp_avg")
    #expect(alone.firstViolation?.reason == "the recorded guarantee is smaller than what codes and scales admit")
  }

  private func values(_ sample: Sample) -> [Float] {
    (0..<sample.bytes.count / 4).map { Float(PlainFloat.value(sample.bytes, $0, dtype: .f32)) }
  }

  @Test("A scale that the writer would have rounded is read as it stands")
  func unroundedScale() throws {
    let pair = PairSample(pairValues(60, seed: 70))
    let file = try pairFile([pair])
    let reader = try CheckpointReader(source: MemorySource(bytes: file))
    let m = try PlainTensor(reader, 0).chunk(0)
    var forgery = try Forgery(file)
    // Chunk 1 is the first moment's; its scale a little larger, within 2^-16.
    forgery.replace(inChunk: 1, at: 0, by: littleEndian(m.scale(0).nextUp.bitPattern))
    let report = try verify(forgery.bytes)
    #expect(report.violations == 2 && report.tensors[0].violations == 2)
  }
}
