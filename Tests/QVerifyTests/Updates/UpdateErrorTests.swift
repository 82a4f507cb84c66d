import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

@Suite("The error of the update")
struct UpdateErrorTests {
  /// The error by its definition, the sums in no particular order.
  private static func update(
    _ m: [Double], _ v: [Double], _ decodedM: [Double], _ decodedV: [Double], epsilon: Double
  ) -> (relative: Double, largest: Double, zeroed: UInt64, signs: UInt64) {
    func value(_ m: Double, _ v: Double) -> Double { m == 0 && v == 0 ? 0 : m / (v.squareRoot() + epsilon) }
    let exact = zip(m, v).map(value)
    let errors = zip(exact, zip(decodedM, decodedV).map(value)).map { ($0 - $1).magnitude }
    let sums = (errors.reduce(0) { $0 + $1 * $1 }, exact.reduce(0) { $0 + $1 * $1 })
    return (
      (sums.0 / sums.1).squareRoot(), errors.max() ?? 0,
      UInt64(zip(v, decodedV).count { $0 != 0 && $1 == 0 }), UInt64(zip(m, decodedM).count { $0 * $1 < 0 })
    )
  }

  private func numbers(_ bytes: [UInt8], _ dtype: DType) -> [Double] {
    (0..<bytes.count * 8 / dtype.bitWidth).map { PlainFloat.value(bytes, $0, dtype: dtype) }
  }

  /// Verifies with an ε, and holds what is found of one pair against the definition.
  private func expectDefinition(_ file: [UInt8], _ samples: [Sample], pair: (String, String), epsilon: Double) throws {
    let reader = try CheckpointReader(source: MemorySource(bytes: file))
    let report = try Verifier(reader, epsilon: epsilon, threads: 2).verify(against: original(samples))
    let row = try #require(report.tensors.first { $0.name == pair.0 })
    let found = try #require(row.updateError)
    #expect(row.secondMoment == pair.1)
    let sides = try [pair.0, pair.1].map { name in
      let sample = try #require(samples.first { $0.name == name })
      let decoded = try reader.bytes(ofTensor: try #require(reader.find(name)))
      return (numbers(sample.bytes, sample.dtype), numbers(decoded, sample.dtype))
    }
    let wanted = Self.update(sides[0].0, sides[1].0, sides[0].1, sides[1].1, epsilon: epsilon)
    #expect(found.epsilon == epsilon && found.maxAbsError == wanted.largest)
    #expect(found.zeroedSecondMoments == wanted.zeroed && found.signChanges == wanted.signs)
    // Sums of a few thousand terms in another order.
    #expect((found.relativeL2Error - wanted.relative).magnitude <= 0x1p-40 * wanted.relative)
  }

  @Test("By reference, by names, and of narrow dtypes", arguments: [1e-8, 0.25])
  func definition(epsilon: Double) throws {
    for dtype in quantizableDTypes {
      let pair = PairSample(pairValues(3000, dtype: dtype, seed: 71), prefix: "a.", dtype: dtype)
      let others = PairSample(
        pairValues(2000, dtype: dtype, seed: 72), prefix: "b.", dtype: dtype,
        first: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(64)),
        second: Scheme(map: .linear, bits: 4, signed: false, scaling: .tensor))
      let samples = pair.samples + others.samples
      let file = try pairFile([pair], others: others.samples)
      try expectDefinition(file, samples, pair: ("a.exp_avg", "a.exp_avg_sq"), epsilon: epsilon)
      try expectDefinition(file, samples, pair: ("b.exp_avg", "b.exp_avg_sq"), epsilon: epsilon)
    }
  }

  @Test("What verification finds is what the encoder measured", arguments: [1, 2, 7])
  func measured(threads: Int) throws {
    let values = pairValues(600_000, seed: 73)
    let pair = PairSample(values)
    let file = try checkpointBytes { writer in
      func moment(_ sample: Sample, _ role: Role) -> NewTensor {
        NewTensor(
          name: sample.name, dtype: .f32, role: role, encoding: .quantized(sample.scheme ?? log8),
          source: MemorySource(bytes: sample.bytes))
      }
      try writer.addPair(
        first: moment(pair.first, .firstMoment), second: moment(pair.second, .secondMoment), shape: [600_000],
        measuring: 1e-8)
    }
    let reader = try CheckpointReader(source: MemorySource(bytes: file))
    let report = try Verifier(reader, threads: threads).verify(against: original(pair.samples))
    #expect(report.pairs == 1)
    #expect(report.updateError == reader.measuredPairs[0].error)
    #expect(report.tensors[0].updateError == reader.measuredPairs[0].error)
  }

  @Test("Of an exact file it is 0, and without an original there is none")
  func exact() throws {
    let pair = PairSample(pairValues(100, seed: 74))
    var samples = pair.samples
    for index in samples.indices { samples[index].scheme = nil }
    let file = try pairFile([], others: samples)
    let report = try verify(file, against: samples, limits: .init(maxUpdateError: 0, maxUpdateAbsolute: 0))
    #expect(report.ok && report.pairs == 1)
    let error = try #require(report.updateError)
    #expect(error.relativeL2Error == 0 && error.maxAbsError == 0)
    #expect(error.zeroedSecondMoments == 0 && error.signChanges == 0)
    let alone = try verify(file)
    #expect(alone.updateError == nil && alone.pairs == 0 && alone.tensors.allSatisfy { $0.updateError == nil })
    let none = try verify(pairFile([], others: [samples[0]]), against: [samples[0]])
    #expect(none.updateError == UpdateError(epsilon: 1e-8) && none.pairs == 0)
  }

  @Test("Second moments that become zero are counted: the dynamic map under plain rounding, not the log map")
  func zeroed() throws {
    // 1e-7 of the largest lies below the half of the least entry.
    let v: [Float] = [1, 1e-10, 1e-10, 0, 0.5]
    let m: [Float] = [0.5, 1e-6, -1e-6, 0, -0.25]
    let paper = Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256))
    let first = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    let old = PairSample((m, v), first: first, second: paper)
    let report = try verify(pairFile([], others: old.samples), against: old.samples)
    let error = try #require(report.updateError)
    #expect(error.zeroedSecondMoments == 2)
    // An update of 0.1 over 1e-5 becomes one over 1e-8.
    #expect(error.maxAbsError > 10)
    let new = PairSample((m, v))
    let better = try verify(pairFile([new]), against: new.samples)
    #expect(better.updateError?.zeroedSecondMoments == 0)
    #expect(try #require(better.updateError).maxAbsError < 0.01)
    // Bounds hold in both: it is the damage that differs.
    #expect(report.ok && better.ok)
  }

  @Test("Signs that change are counted")
  func signs() throws {
    let pair = PairSample(([1, -1, 0.5], [1, 1, 1]), first: updateScheme(.linearNoZero, 4), second: log8)
    let file = try pairFile([pair])
    #expect(try verify(file, against: pair.samples).updateError?.signChanges == 0)
    let changed = try verify(file, against: [pair.first.altered(0, to: -1), pair.second])
    #expect(changed.updateError?.signChanges == 1 && changed.updateError?.maxAbsError == 2 / (1 + 1e-8))
  }

  @Test("Limits: at the limit is within it")
  func limits() throws {
    let pair = PairSample(pairValues(2000, seed: 75))
    let file = try pairFile([pair])
    let error = try #require(try verify(file, against: pair.samples).updateError)
    let (relative, largest) = (error.relativeL2Error, error.maxAbsError)
    #expect(relative > 0 && largest > 0)
    #expect(
      try verify(file, against: pair.samples, limits: .init(maxUpdateError: relative, maxUpdateAbsolute: largest)).ok)
    for (limits, got, reason) in [
      (Verifier.Limits(maxUpdateError: relative.nextDown), relative, "the relative L2 error of the update"),
      (Verifier.Limits(maxUpdateAbsolute: largest.nextDown), largest, "the largest error of an update"),
    ] {
      let report = try verify(file, against: pair.samples, limits: limits)
      #expect(report.violations == 1)
      #expect(
        report.firstViolation
          == .init(
            tensor: nil, index: nil, expected: nil, got: got, bound: got.nextDown,
            reason: "\(reason) is above the limit"))
    }
  }

  @Test("Several pairs: overall is all of them together; what the original lacks counts not")
  func overall() throws {
    let pairs = (0..<3).map { PairSample(pairValues(1000 + $0, seed: UInt64(76 + $0)), prefix: "\($0).") }
    let file = try pairFile(pairs)
    let report = try verify(file, against: pairs.flatMap(\.samples))
    let errors = report.tensors.compactMap(\.updateError)
    #expect(report.pairs == 3 && errors.count == 3)
    var total = UpdateError(epsilon: 1e-8)
    for error in errors { total.append(error) }
    #expect(report.updateError == total)
    let fewer = try verify(file, against: pairs.dropLast().flatMap(\.samples) + [pairs[2].first])
    #expect(fewer.pairs == 2 && fewer.violations == 1)
    var other = pairs[0].second
    other.shape = [10, 100]
    let mis = try verify(file, against: [pairs[0].first, other])
    #expect(mis.pairs == 0)
  }
}
