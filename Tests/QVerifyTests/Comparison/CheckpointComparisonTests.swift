import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// Checkpoints on either side: decoded values, pairs of moments, schemes and metadata.
@Suite struct CheckpointComparisonTests {
  private static let dynamic8 = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))

  /// The encoder measured the same distances in the same order of sums, by other code.
  @Test(arguments: quantizableDTypes) func distancesAreTheRecordedStatistics(dtype: DType) throws {
    let values = heavyTailed(count: 300_000, signed: true, dtype: dtype, seed: 61)
    let samples = [
      Sample("a", dtype: dtype, values, scheme: Self.dynamic8),
      Sample(
        "b", dtype: dtype, shape: [500, 600], values.map(\.magnitude),
        scheme: Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1)),
    ]
    let file = try document(checkpoint: checkpoint(samples))
    let reader = try #require(file.checkpoint)
    let report = try compare(original(samples), file, threads: 2)
    for (index, tensor) in report.tensors.enumerated() {
      let recorded = reader.tensor(index).statistics
      #expect(tensor.change == .changed && tensor.schemesDiffer == nil)
      #expect(tensor.distance?.squaredDifference == recorded.squaredError)
      #expect(tensor.distance?.squaredA == recorded.squaredSource)
      #expect(tensor.distance?.maxAbs == recorded.maxAbsError)
      #expect(tensor.distance?.relativeL2 == recorded.relativeL2Error)
      #expect(tensor.b?.scheme == samples[index].scheme && tensor.a?.scheme == nil)
    }
  }

  @Test func equalValuesUnderOtherSchemesAreEqual() throws {
    // Every value is exact under both.
    let values = (0..<512).map { Float($0 % 2) }
    let schemes = [Self.dynamic8, Scheme(map: .linear, bits: 4, signed: true, scaling: .block(128)), nil]
    let files = try schemes.map { scheme in
      var sample = Sample("x", values, scheme: Self.dynamic8)
      sample.scheme = scheme
      return try document(checkpoint: checkpoint([sample]))
    }
    for (one, a) in files.enumerated() {
      for (other, b) in files.enumerated() {
        let report = try compare(a, b)
        #expect(report.isEqual, "\(one) \(other)")
        #expect(report.tensors[0].schemesDiffer == (one != other), "\(one) \(other)")
      }
    }
  }

  // MARK: Pairs

  @Test func updatesOfPairsAreMeasured() throws {
    let (m, v) = pairValues(300_000, seed: 62)
    let (n, w) = pairValues(300_000, seed: 63)
    func side(_ m: [Float], _ v: [Float]) -> InputDocument {
      original(PairSample((m, v), prefix: "w.").samples + [Sample("other", dtype: .u8, shape: [1], bytes: [1])])
    }
    for epsilon in [1e-8, 1e-3] {
      let report = try compare(side(m, v), side(n, w), epsilon: epsilon, threads: 2)
      func updates(_ m: [Float], _ v: [Float]) -> [Double] {
        zip(m, v).map { $0 == 0 && $1 == 0 ? 0 : Double($0) / (Double($1).squareRoot() + epsilon) }
      }
      let (u, û) = (updates(m, v), updates(n, w))
      let tensor = report.tensors[1]
      #expect(tensor.name == "w.exp_avg" && tensor.secondMoment == "w.exp_avg_sq")
      let update = try #require(tensor.update)
      #expect(update.squaredError == orderedSum(zip(u, û).map { ($0 - $1) * ($0 - $1) }))
      #expect(update.squaredUpdate == orderedSum(u.map { $0 * $0 }))
      #expect(update.maxAbsError == zip(u, û).map { ($0 - $1).magnitude }.max())
      #expect(report.pairs == 1 && report.update == update && update.epsilon == epsilon)
      #expect(report.tensors[0].update == nil && report.tensors[2].update == nil)
    }
  }

  @Test func aPairUnderTheUpdateDomainIsItsOwnMeasure() throws {
    let pair = PairSample(pairValues(300_000, seed: 64))
    let file = try document(checkpoint: pairFile([pair]))
    let report = try compare(original(pair.samples), file)
    let reader = try #require(file.checkpoint)
    let verified = try Verifier(reader, threads: 1).verify(against: original(pair.samples))
    #expect(report.pairs == 1)
    #expect(report.update == verified.updateError)
    #expect(report.update.squaredError > 0)
  }

  @Test func onlyPairsOfBothSidesCount() throws {
    let (m, v) = pairValues(64, seed: 65)
    let pair = PairSample((m, v)).samples
    var reshaped = pair
    for index in 0..<2 { reshaped[index].shape = [8, 8] }
    let integers = Sample("exp_avg_sq", dtype: .i32, shape: [64], bytes: [UInt8](repeating: 1, count: 256))
    for other in [[pair[0]], [pair[1]], reshaped, [pair[0], integers], []] {
      let report = try compare(original(pair), original(other))
      #expect(report.pairs == 0)
      #expect(report.tensors.allSatisfy { $0.update == nil && $0.secondMoment == nil })
    }
  }

  @Test func equalPairsAreNoDistanceApart() throws {
    let (m, v) = pairValues(100, seed: 66)
    // Of a negative second moment the update is NaN; a pair that is equal on both sides is equal all the same.
    let odd = PairSample((m, v.enumerated().map { $0 == 7 ? -1 : $1 }), prefix: "odd.").samples
    let even = PairSample((m, v), prefix: "even.").samples
    let changed = [even[0].altered(3, to: 9), even[1]]
    for (a, b, measured) in [(odd + even, odd + even, 0.0), (odd + even, odd + changed, 1)] {
      let report = try compare(original(a), original(b))
      #expect(report.pairs == 2)
      let found = try #require(report.tensors.first { $0.name == "odd.exp_avg" }?.update)
      #expect(found.relativeL2Error == 0 && found.maxAbsError == 0)
      #expect((report.update.maxAbsError > 0) == (measured > 0))
      #expect(report.update.relativeL2Error.isFinite)
    }
    // The equal pair counts in what the distance of all is relative to.
    let three = even + PairSample((m, v), prefix: "twin.").samples
    let one = try compare(original(even), original(changed)).update
    let both = try compare(original(three), original(changed + three[2...])).update
    #expect(both.squaredError == one.squaredError)
    #expect(both.squaredUpdate == 2 * one.squaredUpdate)
  }

  // MARK: Metadata

  @Test func metadataAreToldAndDoNotCount() throws {
    func file(_ metadata: JSONValue) throws -> InputDocument {
      try document(checkpoint: checkpointBytes { try $0.setMetadata(metadata) })
    }
    let a = try file(.object(["metadata": .object(["step": .string("1"), "same": .integer(2)]), "tree": .integer(1)]))
    let b = try file(
      .object(["metadata": .object(["step": .string("2"), "same": .integer(2), "new": .null]), "policy": .integer(1)]))
    let report = try compare(a, b)
    #expect(report.isEqual)
    #expect(
      report.metadata == [
        .init(key: "new", a: nil, b: .null), .init(key: "step", a: .string("1"), b: .string("2")),
      ])
    #expect(report.documentMembers == ["policy", "tree"])
    #expect(try compare(a, a).metadata == [] && compare(a, a).documentMembers == [])
    // Of other formats the users' metadata alone.
    let plain = InputDocument(tensors: [], metadata: ["step": "1", "same": "2"], kind: "memory", files: [])
    let mixed = try compare(plain, a)
    #expect(mixed.metadata == [.init(key: "same", a: .string("2"), b: .integer(2))])
    #expect(mixed.documentMembers == nil)
  }
}
