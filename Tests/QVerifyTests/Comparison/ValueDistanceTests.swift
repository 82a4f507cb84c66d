import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// How far apart the values of one tensor are.
@Suite struct ValueDistanceTests {
  private func tensor(_ a: InputDocument, _ b: InputDocument) throws -> ComparisonReport.Tensor {
    let report = try compare(a, b)
    return try #require(report.tensors.first)
  }

  @Test func figuresAreThoseOfTheDefinition() throws {
    let tensor = try tensor(floats([3, 4]), floats([3, 5]))
    #expect(tensor.change == .changed)
    #expect(tensor.differing == 1)
    let distance = try #require(tensor.distance)
    #expect(distance.relativeL2 == 1.0 / 5)
    #expect(distance.maxAbs == 1)
    #expect(distance.cosine == 29 / 5.0 / 34.0.squareRoot())
    // Relative to the first of the two.
    let back = try #require(try self.tensor(floats([3, 5]), floats([3, 4])).distance)
    #expect(back.relativeL2 == (1.0 / 34).squareRoot())
  }

  @Test(arguments: [DType.f32, .f64, .bf16, .f16]) func sumsAreInTheOrderOfTheSpec(dtype: DType) throws {
    let count = 2 * 262_144 + 33
    let narrow = dtype == .f64 ? DType.f32 : dtype
    let values = (0..<2).map { heavyTailed(count: count, signed: true, dtype: narrow, seed: 40 + $0) }
    let sides = values.map { values in
      raw(
        dtype,
        dtype == .f64
          ? values.flatMap { littleEndian(Double($0).bitPattern) } : Narrow.bytes(values, dtype: dtype))
    }
    let wide = values.map { $0.map { Double($0) } }
    let differences = zip(wide[0], wide[1]).map { $0 - $1 }
    for threads in [1, 3] {
      let report = try compare(sides[0], sides[1], threads: threads)
      let distance = try #require(report.tensors[0].distance)
      #expect(distance.squaredDifference == orderedSum(differences.map { $0 * $0 }))
      #expect(distance.squaredA == orderedSum(wide[0].map { $0 * $0 }))
      #expect(distance.squaredB == orderedSum(wide[1].map { $0 * $0 }))
      #expect(distance.product == orderedSum(zip(wide[0], wide[1]).map { $0 * $1 }))
      #expect(distance.maxAbs == differences.map(\.magnitude).max())
      #expect(report.tensors[0].differing == UInt64(differences.count { $0 != 0 }))
      #expect(report.distance == distance)
    }
  }

  @Test func zerosOfEitherSignDifferAndAreNoDistanceApart() throws {
    let tensor = try tensor(floats([0, 1]), floats([-0.0, 1]))
    #expect(tensor.change == .changed)
    #expect(tensor.differing == 1)
    #expect(tensor.distance?.relativeL2 == 0 && tensor.distance?.maxAbs == 0)
    #expect(tensor.isWithin(.init(maxAbsolute: 0)))
    #expect(tensor.isWithin(.init(maxRelativeL2: 0, maxAbsolute: 0)))
  }

  @Test(arguments: [DType.f32, .f64, .bf16, .f16]) func whatIsNotFiniteIsComparedByItsBits(dtype: DType) throws {
    // Quiet NaN, another NaN, infinity, 1: by their upper bits.
    let patterns: [DType: [UInt64]] = [
      .f32: [0x7FC0_0001, 0x7FC0_0002, 0x7F80_0000, 0x3F80_0000],
      .f64: [0x7FF8_0000_0000_0001, 0x7FF8_0000_0000_0002, 0x7FF0_0000_0000_0000, 0x3FF0_0000_0000_0000],
      .bf16: [0x7FC1, 0x7FC2, 0x7F80, 0x3F80], .f16: [0x7E01, 0x7E02, 0x7C00, 0x3C00],
    ]
    let all = try #require(patterns[dtype])
    func side(_ elements: [Int]) -> InputDocument {
      raw(dtype, elements.flatMap { littleEndian(all[$0], size: dtype.bitWidth / 8) })
    }
    let same = try tensor(side([0, 2, 3]), side([0, 2, 3]))
    #expect(same.change == .equal && same.differing == 0)
    #expect(same.distance?.relativeL2 == 0 && same.distance?.cosine == 1)
    for (one, other) in [(0, 1), (0, 3), (2, 3), (3, 0)] {
      let tensor = try tensor(side([one, 3]), side([other, 3]))
      #expect(tensor.change == .changed && tensor.differing == 1)
      #expect(tensor.distance?.maxAbs == .infinity && tensor.distance?.relativeL2 == .infinity)
      #expect(!tensor.isWithin(.init(maxAbsolute: 1e300)))
      #expect(!tensor.isWithin(.init(maxRelativeL2: 1e300)))
    }
  }

  @Test func aSignallingNaNIsNotItsQuietOne() throws {
    let tensor = try tensor(raw(.f32, littleEndian(0x7F80_0001)), raw(.f32, littleEndian(0x7FC0_0001)))
    #expect(tensor.change == .changed && tensor.differing == 1)
  }

  @Test func ofNothingThereIsNoCosine() throws {
    let zeros = try tensor(floats([0, 0]), floats([0, 0]))
    #expect(zeros.distance?.cosine == nil && zeros.distance?.relativeL2 == 0)
    let one = try tensor(floats([0, 0]), floats([0, 1]))
    #expect(one.distance?.cosine == nil && one.distance?.relativeL2 == .infinity && one.distance?.maxAbs == 1)
    #expect(one.isWithin(.init(maxAbsolute: 1)))
    #expect(!one.isWithin(.init(maxRelativeL2: 1)))
    let empty = try tensor(floats([]), floats([]))
    #expect(empty.change == .equal && empty.differing == 0)
    #expect(empty.distance?.cosine == nil && empty.distance?.relativeL2 == 0)
  }

  @Test func aCosineIsNeverBeyondOne() throws {
    for seed in 0..<20 {
      let values = heavyTailed(count: 1000, signed: true, dtype: .f32, seed: UInt64(seed))
      let own = try #require(try tensor(floats(values), floats(values.map { 3 * $0 })).distance?.cosine)
      let other = try #require(try tensor(floats(values), floats(values.map { -3 * $0 })).distance?.cosine)
      #expect(own <= 1 && own > 0.999_999)
      #expect(other >= -1 && other < -0.999_999)
    }
  }
}
