import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

private let dynamic8 = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(64))

/// A quantized and two lossless tensors.
private let samples = [
  Sample("count", dtype: .i64, shape: [2], bytes: [UInt8](1...16)),
  Sample("m", shape: [10, 30], heavyTailed(count: 300, signed: true, dtype: .f32, seed: 1), scheme: dynamic8),
  Sample("w", dtype: .f32, shape: [3], bytes: littleEndian(0x7FC0_0001 as UInt32) + [UInt8](repeating: 0, count: 8)),
]

@Suite("Verification of good files")
struct GoodFileTests {
  @Test("Every scheme and scaling, with and without the original", arguments: quantizableDTypes)
  func everyScheme(dtype: DType) throws {
    var tensors: [Sample] = []
    for (index, test) in schemeCases().enumerated() {
      let values = heavyTailed(count: 1200, signed: test.scheme.signed, dtype: dtype, seed: UInt64(index))
      let scaling = [Scheme.Scaling.tensor, .block(32), .row, .column, .rank1][index % 5]
      let name = "\(1000 + index) \(test)"
      tensors.append(Sample(name, dtype: dtype, shape: [6, 10, 20], values, scheme: test.scaled(scaling)))
    }
    let file = try checkpoint(tensors)
    let (alone, compared) = (try verify(file), try verify(file, against: tensors, threads: 2))
    for report in [alone, compared] {
      #expect(report.ok && report.firstViolation == nil)
      #expect(report.tensors.map(\.name) == tensors.map(\.name))
      for tensor in report.tensors {
        #expect(tensor.violations == 0)
        #expect(tensor.recomputedGuarantee == tensor.guaranteedMaxAbsError)
      }
    }
    for (recorded, measured) in zip(alone.tensors, compared.tensors) {
      #expect(measured.maxAbsError == recorded.maxAbsError && measured.maxAbsError > 0)
      // The encoder adds in another order: 1,200 terms differ by at most as many roundings.
      let difference = (measured.relativeL2Error - recorded.relativeL2Error).magnitude
      #expect(difference <= 1200 * 0x1p-53 * recorded.relativeL2Error)
    }
  }

  @Test("Lossless tensors are compared bit for bit: NaN equals itself")
  func lossless() throws {
    let report = try verify(try checkpoint(samples), against: samples)
    #expect(report.ok)
    #expect(report.tensors.map(\.name) == ["count", "m", "w"])
    #expect(report.tensors.map(\.guaranteedMaxAbsError?.isZero) == [true, false, true])
    #expect(report.tensors[0].recomputedGuarantee == 0)
    #expect(report.tensors[2].maxAbsError == 0 && report.tensors[2].relativeL2Error == 0)
  }

  /// Strings of Swift are equal where only the normalisation differs; names are not.
  @Test("Names that differ in normalisation alone are those of different tensors")
  func normalisation() throws {
    let tensors = [
      Sample("m.e\u{301}", shape: [3], [1, 2, 3], scheme: dynamic8),
      Sample("m.\u{E9}", shape: [3], [4, 5, 6], scheme: dynamic8),
      Sample("v.e\u{301}", shape: [3], [7, 8, 9], scheme: dynamic8),
      Sample("v.\u{E9}", shape: [3], [10, 11, 12], scheme: dynamic8),
    ]
    let report = try verify(try checkpoint(tensors), against: tensors)
    #expect(report.ok, "\(String(describing: report.firstViolation))")
    #expect(report.tensors.count == 4)
  }

  @Test("No tensors, no elements, a scalar")
  func small() throws {
    #expect(try verify(checkpoint([]), against: []).tensors.isEmpty)
    let odd = [
      Sample("empty", shape: [0, 4], [], scheme: dynamic8), Sample("none", dtype: .u8, shape: [0], bytes: []),
      Sample("scalar", shape: [], [3.5], scheme: dynamic8),
    ]
    let report = try verify(checkpoint(odd), against: odd)
    #expect(report.ok)
    #expect(report.tensors.map(\.maxAbsError) == [0, 0, 0])
    #expect(report.tensors[0].recomputedGuarantee == 0)
  }

  @Test("An import has measured errors and no guarantee")
  func imported() throws {
    let file = try fixture("golden/custom.qckpt")
    let reader = try CheckpointReader(source: MemorySource(bytes: file))
    let index = try #require(reader.find("unknown"))
    let info = reader.tensor(index)
    #expect(info.scheme?.rounding == .unknown)
    var others = try (0..<reader.tensorCount).map { index in
      let info = reader.tensor(index)
      return try Sample(info.name, dtype: info.dtype, shape: info.shape, bytes: reader.bytes(ofTensor: index))
    }
    #expect(try verify(file, against: others).ok)
    let before = PlainFloat.value(others[index].bytes, 0, dtype: .f32)
    others[index] = others[index].altered(0, to: Float(before) + 1024)
    let report = try verify(file, against: others)
    #expect(report.ok)
    #expect(report.tensors[index].maxAbsError == Double(Float(before) + 1024) - before)
    #expect(report.tensors[index].guaranteedMaxAbsError == nil && report.tensors[index].recomputedGuarantee == nil)
  }
}

@Suite("Violations")
struct ViolationTests {
  @Test("An element at its bound passes, the next float beyond it does not")
  func edge() throws {
    let file = try checkpoint(samples)
    let reader = try CheckpointReader(source: MemorySource(bytes: file))
    let layout = try #require(try reader.layout(of: 1))
    let payload = try reader.payload(ofChunk: reader.tensor(1).chunks[0])
    let plain = PlainChunk(layout: layout, scales: [], payload: payload, chunk: 0)
    for index in [0, 63, 64, 299] {
      let code = plain.code(index)
      let scale = plain.scale(index)
      let got = plain.value(index, divisor: nil)
      let bound = try #require(SchemeBound(layout: layout).bound(code: code, scale: scale))
      var most = Float(got + bound)
      if Double(most) - got > bound { most = most.nextDown }
      var changed = samples
      changed[1] = samples[1].altered(index, to: most)
      #expect(try verify(file, against: changed).ok)
      changed[1] = samples[1].altered(index, to: most.nextUp)
      let report = try verify(file, against: changed)
      #expect(!report.ok && report.violations == 1 && report.tensors.map(\.violations) == [0, 1, 0])
      #expect(
        report.firstViolation
          == .init(
            tensor: "m", index: UInt64(index), expected: Double(most.nextUp), got: got, bound: bound,
            reason: "an element exceeds its bound"))
    }
  }

  @Test("Values that are not finite exceed every bound", arguments: [Float.nan, .infinity, -.infinity])
  func nonFinite(value: Float) throws {
    var changed = samples
    changed[1] = samples[1].altered(7, to: value)
    let report = try verify(try checkpoint(samples), against: changed)
    #expect(report.violations == 1)
    #expect(report.firstViolation?.index == 7)
    #expect(report.tensors[1].maxAbsError == .infinity)
  }

  @Test("A tensor missing on either side; what the file lacks comes last")
  func missing() throws {
    let file = try checkpoint(samples)
    let extra = Sample("a", dtype: .u8, shape: [1], bytes: [1])
    let report = try verify(file, against: [extra, samples[0], samples[2]])
    #expect(report.violations == 2)
    #expect(report.firstViolation?.tensor == "m" && report.firstViolation?.index == nil)
    #expect(report.firstViolation?.reason == "the original has no such tensor")
    #expect(report.tensors.map(\.violations) == [0, 1, 0])
    let lacking = try verify(file, against: samples + [extra])
    #expect(lacking.violations == 1)
    #expect(lacking.firstViolation?.tensor == "a")
    #expect(lacking.firstViolation?.reason == "the checkpoint has no such tensor")
  }

  @Test("What the stored policy drops need not be in the file")
  func dropped() throws {
    let rule = Policy.Rule(match: .init(name: try Glob("tmp.*")), action: .drop)
    let file = try checkpoint(samples, policy: Policy(name: "mine", rules: [rule]))
    let scratch = Sample("tmp.x", dtype: .u8, shape: [1], bytes: [1])
    #expect(try verify(file, against: samples + [scratch]).ok)
    var other = scratch
    other.name = "x.tmp"
    #expect(try verify(file, against: samples + [scratch, other]).firstViolation?.tensor == "x.tmp")
    // Dropping excuses the file, not the original.
    let kept = try checkpoint(samples + [scratch], policy: Policy(name: "mine", rules: [rule]))
    #expect(try verify(kept, against: samples).firstViolation?.tensor == "tmp.x")
  }

  @Test("Another shape of as many elements, another dtype of as many bytes")
  func described() throws {
    let file = try checkpoint(samples)
    var changed = samples
    changed[1].shape = [30, 10]
    changed[0].dtype = .u64
    let report = try verify(file, against: changed)
    #expect(report.tensors.map(\.violations) == [1, 1, 0])
    #expect(report.firstViolation?.reason == "the original is U64 [2], the checkpoint I64 [2]")
    #expect(report.firstViolation?.tensor == "count")
  }

  @Test("One bit of a lossless tensor, a NaN's included; a zero of the other sign")
  func losslessBits() throws {
    let file = try checkpoint(samples)
    var changed = samples
    changed[0].bytes[9] ^= 1
    changed[2].bytes[0] ^= 2
    changed[2].bytes[11] = 0x80
    let report = try verify(file, against: changed)
    #expect(report.tensors.map(\.violations) == [1, 0, 2])
    let first = try #require(report.firstViolation)
    #expect(first.tensor == "count" && first.index == 1 && first.bound == 0)
    #expect(first.expected == Double(0x100F_0E0D_0C0B_0B09 as Int64))
    #expect(first.got == Double(0x100F_0E0D_0C0B_0A09 as Int64))
    #expect(first.reason == "a lossless element differs")
  }

  @Test("Of elements that share bytes the first that lies in a differing byte is named")
  func losslessSubByte() throws {
    // (dtype, elements, byte, element): one byte is two elements of 4 bits, three are four of 6.
    let cases: [(DType, UInt64, Int, UInt64)] = [
      (.f4, 20, 0, 0), (.f4, 20, 7, 14), (.f4, 4_194_304, 1_048_577, 2_097_154), (.f6e2m3, 16, 1, 1),
      (.f6e2m3, 16, 2, 2), (.f6e3m2, 16, 3, 4), (.f6e3m2, 4_194_304, 1_048_576, 1_398_101),
    ]
    for (dtype, elements, byte, element) in cases {
      let bytes = [UInt8](repeating: 7, count: Int(elements) * dtype.bitWidth / 8)
      var changed = bytes
      changed[byte] = 9
      let file = try checkpoint([Sample("s", dtype: dtype, shape: [elements], bytes: bytes)])
      let report = try verify(file, against: [Sample("s", dtype: dtype, shape: [elements], bytes: changed)])
      #expect(report.violations == 1, "\(dtype), byte \(byte)")
      #expect(report.firstViolation?.index == element, "\(dtype), byte \(byte)")
      #expect(report.firstViolation?.expected == 9 && report.firstViolation?.got == 7)
    }
  }

  @Test("The index of a lossless element counts over chunks")
  func losslessChunks() throws {
    let count = Format.losslessChunk / 8 + 3
    let long = Sample("l", dtype: .f64, shape: [UInt64(count)], bytes: [UInt8](repeating: 7, count: count * 8))
    let file = try checkpoint([long])
    var changed = long
    changed.bytes[(count - 2) * 8 + 7] = 0
    for threads in [1, 2, 7] {
      let report = try verify(file, against: [changed], threads: threads)
      #expect(report.violations == 1 && report.firstViolation?.index == UInt64(count - 2))
    }
  }

  @Test("Limits: at the limit is within it")
  func limits() throws {
    let file = try checkpoint(samples)
    let measured = try verify(file, against: samples).tensors[1]
    for against in [nil, samples] {
      let tensor = try verify(file, against: against).tensors[1]
      let (abs, rel) = (tensor.maxAbsError, tensor.relativeL2Error)
      #expect(abs == measured.maxAbsError && abs > 0)
      #expect(try verify(file, against: against, limits: .init(maxRelativeL2: rel, maxAbsolute: abs)).ok)
      let absolute = try verify(file, against: against, limits: .init(maxAbsolute: abs.nextDown))
      #expect(absolute.violations == 1 && absolute.tensors.map(\.violations) == [0, 1, 0])
      #expect(absolute.firstViolation?.reason == "the largest error is above the limit")
      #expect(absolute.firstViolation?.got == abs && absolute.firstViolation?.bound == abs.nextDown)
      let relative = try verify(file, against: against, limits: .init(maxRelativeL2: rel.nextDown))
      #expect(relative.violations == 1 && relative.firstViolation?.tensor == "m")
      #expect(relative.firstViolation?.reason == "the relative L2 error is above the limit")
    }
    #expect(try verify(checkpoint([samples[0]]), limits: .init(maxRelativeL2: 0, maxAbsolute: 0)).ok)
  }

  @Test("The first violation is the lowest of all chunks, equal at every thread count")
  func order() throws {
    let count = 2 * TensorLayout.chunkElements + 5000
    let values = heavyTailed(count: count, signed: true, dtype: .f32, seed: 3)
    let scheme = Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128))
    let long = Sample("long", values, scheme: scheme)
    let file = try checkpoint([long, samples[1]])
    var changed = long
    let altered = [count - 1, TensorLayout.chunkElements + 1, TensorLayout.chunkElements, 200_000]
    for index in altered { changed = changed.altered(index, to: 1e30) }
    let other = samples[1].altered(0, to: 1e30)
    let reports = try [1, 2, 7].map { try verify(file, against: [other, changed], threads: $0) }
    for report in reports {
      #expect(report.violations == 5)
      #expect(report.tensors.map(\.violations) == [4, 1])
      #expect(report.firstViolation == reports[0].firstViolation)
      #expect(report.tensors.map(\.relativeL2Error) == reports[0].tensors.map(\.relativeL2Error))
      #expect(report.tensors.map(\.recomputedGuarantee) == reports[0].tensors.map(\.guaranteedMaxAbsError))
    }
    #expect(reports[0].firstViolation?.tensor == "long" && reports[0].firstViolation?.index == 200_000)
    #expect(reports[0].firstViolation?.expected == Double(Float(1e30)))
  }
}
