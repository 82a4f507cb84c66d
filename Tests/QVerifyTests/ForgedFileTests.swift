import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// Files whose checksums are right and whose contents are not what an encoder makes.
@Suite("Forged files")
struct ForgedFileTests {
  private let values = heavyTailed(count: 200, signed: true, dtype: .f16, seed: 8)

  private func sample(_ dtype: DType, _ scaling: Scheme.Scaling = .block(256)) -> Sample {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: scaling)
    return Sample("m", dtype: dtype, values, scheme: scheme)
  }

  @Test(
    "A recorded guarantee may be larger than what codes and scales admit, not smaller", arguments: quantizableDTypes)
  func guarantee(dtype: DType) throws {
    let sample = Sample(
      "m", dtype: dtype, values.map { Narrow.nearest($0, dtype: dtype) }, scheme: sample(dtype).scheme!)
    let file = try checkpoint([sample])
    let honest = try #require(try verify(file).tensors[0].recomputedGuarantee)
    var forgery = try Forgery(file)
    forgery.setGuarantee(honest.nextUp, of: 0)
    #expect(try verify(forgery.bytes, against: [sample]).ok)
    forgery = try Forgery(file)
    forgery.setGuarantee(honest.nextDown, of: 0)
    for against in [nil, [sample]] {
      let report = try verify(forgery.bytes, against: against)
      #expect(report.violations == 1 && report.tensors[0].violations == 1)
      #expect(
        report.firstViolation
          == .init(
            tensor: "m", index: nil, expected: nil, got: honest.nextDown, bound: honest,
            reason: "the recorded guarantee is smaller than what codes and scales admit"))
      #expect(report.tensors[0].guaranteedMaxAbsError == honest.nextDown)
      #expect(report.tensors[0].recomputedGuarantee == honest)
    }
  }

  @Test("Another code is noticed with the original alone")
  func code() throws {
    let sample = sample(.f32)
    let file = try checkpoint([sample])
    var forgery = try Forgery(file)
    // The scale is the first 4 bytes of the chunk; +1 for the element becomes −1.
    let extreme = try #require(values.indices.max { values[$0].magnitude < values[$1].magnitude })
    let scale = Double(values[extreme].magnitude)
    forgery.replace(inChunk: 0, at: 4 + extreme, by: [values[extreme] > 0 ? 0 : 254])
    #expect(try verify(forgery.bytes).ok)
    let report = try verify(forgery.bytes, against: [sample])
    #expect(report.violations == 1 && report.firstViolation?.index == UInt64(extreme))
    #expect(report.firstViolation?.expected == Double(values[extreme]))
    #expect(report.firstViolation?.got == (values[extreme] > 0 ? -scale : scale))
  }

  @Test("A larger scale admits more than is recorded", arguments: [Scheme.Scaling.block(256), .tensor])
  func scale(scaling: Scheme.Scaling) throws {
    let sample = sample(.f32, scaling)
    let file = try checkpoint([sample])
    let scale = try #require(values.map(\.magnitude).max())
    var forgery = try Forgery(file)
    forgery.replace(inChunk: 0, at: 0, by: littleEndian((scale * 2).bitPattern))
    let report = try verify(forgery.bytes)
    #expect(report.violations == 1 && report.firstViolation?.index == nil)
    let recomputed = try #require(report.tensors[0].recomputedGuarantee)
    #expect(recomputed > 1.99 * (report.tensors[0].guaranteedMaxAbsError ?? 0))
  }

  @Test("A scale beyond float16 admits anything, which no record can guarantee")
  func overflow() throws {
    let sample = sample(.f16)
    var forgery = try Forgery(try checkpoint([sample]))
    forgery.replace(inChunk: 0, at: 0, by: littleEndian(Float(1e6).bitPattern))
    let alone = try verify(forgery.bytes)
    #expect(alone.violations == 1 && alone.firstViolation?.bound == .infinity)
    var infinite = try Forgery(forgery.bytes)
    infinite.setGuarantee(.infinity, of: 0)
    #expect(failure { _ = try verify(infinite.bytes) }?.code == .invalidDirectory)
    let decoded = try CheckpointReader(source: MemorySource(bytes: forgery.bytes)).bytes(ofTensor: 0)
    let overflowed = values.indices.filter { PlainFloat.value(decoded, $0, dtype: .f16).isInfinite }
    #expect(!overflowed.isEmpty)
    let compared = try verify(forgery.bytes, against: [sample])
    // The elements and the guarantee.
    #expect(compared.violations == UInt64(overflowed.count) + 1)
    #expect(compared.firstViolation?.index == UInt64(overflowed[0]))
  }

  @Test("What the decoder refuses is an error, not a report")
  func refused() throws {
    let sample = sample(.f32)
    let file = try checkpoint([sample])
    for scale in [Float.nan, .infinity, -1] {
      var forgery = try Forgery(file)
      forgery.replace(inChunk: 0, at: 0, by: littleEndian(scale.bitPattern))
      let error = failure { _ = try verify(forgery.bytes) }
      #expect(error?.code == .invalidScale)
    }
    var changed = file
    changed[Int(try CheckpointReader(source: MemorySource(bytes: file)).chunk(0).offset)] ^= 1
    let error = failure { _ = try verify(changed) }
    #expect(error?.code == .chunkCorrupt)
  }

  @Test("A known rounding with an unknown scale rule is refused")
  func unknownRule() throws {
    let sample = sample(.f32)
    var forgery = try Forgery(try checkpoint([sample]))
    // Map, bits, signed, scaling, block, domain, rounding, scale rule.
    forgery.replaceInDirectory([2, 8, 1, 2, 8, 0, 1, 2], by: [2, 8, 1, 2, 8, 0, 1, 3])
    let error = failure { _ = try verify(forgery.bytes) }
    #expect(error?.code == .invalidScheme)
  }
}
