import QCodec
import Testing

@testable import QCheckpoint

@Suite("What was decoded keeps the step that it has")
struct StepChoiceTests {
  /// Few large values, many small ones, some zeros: with coarse steps nearly all become zeros.
  private static func heavy(_ count: Int, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in
      let x = Float.random(in: -1...1, using: &generator)
      return generator.next() & 7 == 0 ? 0 : x * x * x * x * x
    }
  }

  /// Moments whose quotients are `heavy`.
  private static func moments(_ count: Int, seed: UInt64) -> Pair {
    let (_, v) = pairValues(count, seed: seed)
    let quotients = heavy(count, seed: seed + 1)
    return Pair(zip(quotients, v).map { $0 * $1.squareRoot() }, v)
  }

  private static func stepped(_ pair: Pair, _ quality: Double, _ scaling: Scheme.Scaling = .block(256)) -> Pair {
    let rules = Policy.adamq(quality: quality).rules
    return pair.with {
      ($0.step, $0.secondStep, $0.first) = (rules[0].step, rules[1].step, .quantized(updateScheme(scaling)))
    }
  }

  /// A pair as it is decoded.
  private static func decoded(_ pair: Pair) throws -> Pair {
    let reader = try opened(pair.file(.init(compression: .none, threads: 1)))
    #expect(try reader.named("m").info.reason == .none)
    let bytes = try (reader.bytes(ofTensor: reader.named("m").index), reader.bytes(ofTensor: reader.named("v").index))
    return pair.with { ($0.m, $0.v) = bytes }
  }

  private static func bytes(of values: [UInt8], _ step: QuantizationStep, _ scaling: Scheme.Scaling) throws -> [UInt8] {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: scaling)
    let file = try checkpoint(.init(compression: .none, threads: 1)) { writer in
      let tensor = NewTensor(
        name: "m", dtype: .f32, role: .momentum, encoding: .quantized(scheme), step: step,
        source: MemorySource(bytes: values))
      try writer.add([.tensor(tensor, shape: [UInt64(values.count / 4 / 50), 50])])
    }
    let reader = try opened(file)
    return try reader.bytes(ofTensor: reader.named("m").index)
  }

  @Test("Saving what was loaded changes nothing over 100 cycles, pairs", arguments: [0.001, 0.02, 0.1, 0.3, 0.6])
  func pairs(quality: Double) throws {
    for seed in [UInt64(1), 2, 3] {
      let pair = Self.stepped(Self.moments(10_000, seed: 120 + seed), quality)
      let first = try Self.decoded(pair)
      #expect(first.m != pair.m && first.v != pair.v)
      var now = first
      for cycle in 1...100 {
        now = try Self.decoded(now)
        guard now.m == first.m, now.v == first.v else {
          Issue.record("cycle \(cycle), seed \(seed)")
          break
        }
      }
    }
  }

  @Test("Likewise of the value domain, whatever the scaling", arguments: [0.01, 0.3, 1, 2.07])
  func values(factor: Double) throws {
    for scaling in [Scheme.Scaling.block(256), .row, .column] {
      let given = littleEndian(floats: Self.heavy(10_000, seed: 130))
      let first = try Self.bytes(of: given, .rms(factor), scaling)
      #expect(first != given)
      var now = first
      for _ in 0..<20 { now = try Self.bytes(of: now, .rms(factor), scaling) }
      #expect(now == first, "\(scaling)")
    }
  }

  @Test("Of several chunks, at every number of threads, whatever the scaling")
  func threads() throws {
    for scaling in [Scheme.Scaling.block(256), .tensor] {
      let pair = Self.stepped(Self.moments(600_000, seed: 140), 0.3, scaling)
      let first = try Self.decoded(pair)
      let one = try first.file(.init(compression: .none, threads: 1))
      for threads in [2, 5] { #expect(try first.file(.init(compression: .none, threads: threads)) == one) }
      let again = try Self.decoded(first)
      #expect(again.m == first.m && again.v == first.v)
    }
  }

  @Test("A finer step than is asked for is not kept, a coarser one is")
  func otherFactors() throws {
    let given = littleEndian(floats: Self.heavy(10_000, seed: 150))
    let (fine, coarse) = try (
      Self.bytes(of: given, .rms(0.02), .block(256)), Self.bytes(of: given, .rms(0.5), .block(256))
    )
    #expect(try Self.bytes(of: fine, .rms(0.5), .block(256)) != fine)
    #expect(try Self.bytes(of: coarse, .rms(0.02), .block(256)) == coarse)
  }

  @Test("One element that is not of the step, in any chunk, and no step is kept")
  func oneElement() throws {
    let pair = Self.stepped(Self.moments(600_000, seed: 160), 0.3)
    let first = try Self.decoded(pair)
    for index in [0, 599_999] {
      let other = first.with {
        $0.m.replaceSubrange(index * 4..<index * 4 + 4, with: littleEndian(Float(0.4321).bitPattern))
      }
      let again = try Self.decoded(other)
      #expect(again.m[4000..<2_000_000] != first.m[4000..<2_000_000])
    }
  }
}
