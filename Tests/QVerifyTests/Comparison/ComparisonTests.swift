import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

@Suite struct ComparisonTests {
  private func sample(_ name: String, _ values: [Float], shape: [UInt64]? = nil, dtype: DType = .f32) -> Sample {
    Sample(name, dtype: dtype, shape: shape ?? [UInt64(values.count)], bytes: Narrow.bytes(values, dtype: dtype))
  }

  @Test func everyKindOfChangeIsNamed() throws {
    let a = original([
      sample("changed", [1, 2]), sample("equal", [1]), sample("gone", [1]), sample("retyped", [1, 2.5]),
      sample("shape", [1, 2, 3, 4]), sample("both", [1, 2]), sample("shorter", [1, 2]),
    ])
    let b = original([
      sample("new", [1]), sample("changed", [1, 3]), sample("equal", [1]), sample("retyped", [1, 2.5], dtype: .bf16),
      sample("shape", [1, 2, 3, 5], shape: [2, 2]), sample("both", [1, 2], shape: [2, 1], dtype: .f16),
      sample("shorter", [1]),
    ])
    let report = try compare(a, b)
    // In the order of names, each with what its elements say where there are as many.
    #expect(report.tensors.map(\.name) == ["both", "changed", "equal", "gone", "new", "retyped", "shape", "shorter"])
    #expect(
      report.tensors.map(\.change) == [
        .reshaped, .changed, .equal, .removed, .added, .retyped, .reshaped, .reshaped,
      ])
    #expect(report.tensors.map(\.differing) == [0, 1, 0, nil, nil, 0, 1, nil])
    #expect(report.tensors.map { $0.distance?.maxAbs } == [0, 1, 0, nil, nil, 0, 1, nil])
    #expect(report.tensors[3].a?.shape == [1] && report.tensors[3].b == nil)
    #expect(report.tensors[4].a == nil && report.tensors[4].b?.dtype == .f32)
    #expect(report.tensors[0].b?.dtype == .f16 && report.tensors[0].b?.shape == [2, 1])
    #expect(ComparisonReport.Change.allCases.map(report.count) == [1, 1, 1, 1, 3, 1])
    #expect(!report.isEqual && !report.isWithinLimits)
    // No limit excuses more than values.
    let wide = CheckpointComparison.Limits(maxRelativeL2: 1e9, maxAbsolute: 1e9)
    #expect(report.tensors.map { $0.isWithin(wide) } == [false, true, true, false, false, false, false, false])
  }

  @Test func tensorsAreSetSideBySideByTheBytesOfTheirNames() throws {
    let (composed, decomposed) = ("\u{E9}", "e\u{301}")
    let a = original([sample(composed, [1]), sample(decomposed, [2])])
    let b = original([sample(decomposed, [2]), sample(composed, [1])])
    #expect(try compare(a, b).isEqual)
    let report = try compare(a, original([sample(composed, [1])]))
    #expect(report.tensors.map(\.change) == [.removed, .equal])
  }

  @Test func namesOccurOnce() throws {
    let twice = original([sample("x", [1]), sample("x", [2])])
    for (a, b) in [(twice, floats([1])), (floats([1]), twice)] {
      let error = failure { _ = try compare(a, b) }
      #expect(error?.code == .duplicateName && error?.tensor == "x")
    }
  }

  @Test func whatCannotBeComputedWithIsComparedByItsBits() throws {
    let cases: [(DType, [UInt8], [UInt8], UInt64)] = [
      (.i64, [UInt8](repeating: 7, count: 24), [UInt8](repeating: 7, count: 23) + [8], 1),
      (.i32, [1, 2, 3, 4, 5, 6, 7, 8], [9, 2, 3, 9, 9, 6, 7, 8], 2), (.u16, [1, 0, 2, 0], [1, 1, 2, 0], 1),
      (.bool, [0, 1, 1, 0], [1, 1, 1, 1], 2), (.f8e4m3, [0x7F, 1], [0x7F, 2], 1), (.i8, [1, 2], [1, 2], 0),
      (.c64, [UInt8](repeating: 0, count: 16), [UInt8](repeating: 0, count: 8) + [UInt8](repeating: 1, count: 8), 1),
      (.c128, [UInt8](repeating: 0, count: 32), [1] + [UInt8](repeating: 0, count: 31), 1),
      // Two a byte; four in three bytes, from the lowest bit up.
      (.f4, [0x12, 0x34], [0x13, 0x56], 3), (.f6e2m3, [0, 0, 0], [0x40, 0, 0x04], 2),
      (.f6e3m2, [0, 0, 0], [0x3F, 0, 0], 1),
    ]
    for (dtype, one, other, count) in cases {
      let report = try compare(raw(dtype, one), raw(dtype, other), limits: .init(maxAbsolute: 1e300))
      let tensor = try #require(report.tensors.first)
      #expect(tensor.differing == count, "\(dtype)")
      #expect(tensor.change == (count == 0 ? .equal : .changed), "\(dtype)")
      #expect(tensor.distance == nil, "\(dtype)")
      #expect(report.isWithinLimits == (count == 0), "\(dtype)")
    }
    // Integers of another width are not set side by side.
    let report = try compare(raw(.i32, [1, 0, 0, 0]), raw(.i64, [1, 0, 0, 0, 0, 0, 0, 0]))
    #expect(report.tensors[0].change == .retyped && report.tensors[0].differing == nil)
  }

  @Test func elementsOfManyChunksAreCounted() throws {
    let bytes = [UInt8](repeating: 0, count: 3 * 262_144 + 5)
    var other = bytes
    for index in [0, 262_143, 262_144, 786_432, 786_436] { other[index] = 1 }
    for threads in [1, 4] {
      #expect(try compare(raw(.u8, bytes), raw(.u8, other), threads: threads).tensors[0].differing == 5)
    }
  }

  @Test func scalarsAndEmptyTensorsAreTensors() throws {
    let a = original([sample("empty", [], shape: [0, 5]), sample("scalar", [2], shape: [])])
    #expect(try compare(a, a).isEqual)
    let b = original([sample("empty", [], shape: [5, 0]), sample("scalar", [3], shape: [])])
    let report = try compare(a, b)
    #expect(report.tensors.map(\.change) == [.reshaped, .changed])
    #expect(report.tensors.map(\.differing) == [0, 1])
    let none = original([])
    #expect(try compare(none, none).isEqual)
    #expect(try compare(none, a).tensors.map(\.change) == [.added, .added])
  }

  @Test func limitsExcuseValues() throws {
    let (a, b) = (floats([3, 4]), floats([3, 5]))
    for (limits, isWithin) in [
      (CheckpointComparison.Limits(maxRelativeL2: 0.2), true), (.init(maxRelativeL2: 0.19), false),
      (.init(maxAbsolute: 1), true), (.init(maxAbsolute: 0.9), false),
      (.init(maxRelativeL2: 0.2, maxAbsolute: 1), true), (.init(maxRelativeL2: 0.2, maxAbsolute: 0.9), false),
      (.init(maxRelativeL2: 0.1, maxAbsolute: 1), false), (.init(), true),
    ] {
      let report = try compare(a, b, limits: limits)
      #expect(report.isWithinLimits == isWithin, "\(limits)")
      #expect(!report.isEqual)
    }
  }

  @Test func tenThousandTensorsAreCompared() throws {
    let samples = (0..<10_000).map { sample("layer.\($0)", [Float($0)]) }
    var others = samples
    for index in stride(from: 0, to: 10_000, by: 10) { others[index] = sample("layer.\(index)", [-1]) }
    let report = try compare(original(samples.reversed()), original(others))
    #expect(report.count(.changed) == 1000 && report.count(.equal) == 9000)
  }

  @Test func whatCannotBeReadIsAnErrorNotADifference() throws {
    let broken = unsafe CallbackSource(byteCount: 8) { _, _ throws(QCodecError) in throw QCodecError(.io, "gone") }
    let tensor = InputTensor(name: "x", dtype: .f32, shape: [2], source: broken)
    let document = InputDocument(tensors: [tensor], metadata: [:], kind: "broken", files: [])
    for (a, b) in [(document, floats([1, 2])), (floats([1, 2]), document)] {
      #expect(failure { _ = try compare(a, b) }?.code == .io)
    }
  }

  @Test func progressCountsTheBytesOfBothSides() throws {
    var total: UInt64 = 0
    _ = try CheckpointComparison(floats([1, 2]), original([sample("y", [1, 2, 3])])).compare { total += $0 }
    #expect(total == 20)
  }
}
