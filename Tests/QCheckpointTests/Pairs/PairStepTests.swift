import QCodec
import Testing

@testable import QCheckpoint

@Suite("Checkpoints of tensors with steps")
struct PairStepTests {
  private static let linear = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256))

  private static func pair(_ count: Int, _ first: QuantizationStep?, _ second: QuantizationStep?) -> Pair {
    Pair(shape: [UInt64(count)], seed: 110).with {
      ($0.step, $0.secondStep, $0.fallback, $0.epsilon) = (first, second, linear, 1e-8)
    }
  }

  private static func floats(_ reader: CheckpointReader, _ name: String) throws -> [Float] {
    let bytes = try reader.bytes(ofTensor: reader.named(name).index)
    return unsafe bytes.withUnsafeBytes { unsafe DType.f32.floats($0) }
  }

  @Test("Equal bytes at every number of threads, whatever the scaling of the first moment")
  func threads() throws {
    for scaling in [Scheme.Scaling.block(256), .tensor, .row] {
      let pair = Pair(shape: [6, 150_000], seed: 111).with {
        ($0.step, $0.secondStep) = (.rms(0.3), .octaves(0.5))
        $0.first = .quantized(updateScheme(scaling))
      }
      let one = try pair.file(.init(compression: .zstd, threads: 1))
      for threads in [2, 5] { #expect(try pair.file(.init(compression: .zstd, threads: threads)) == one) }
    }
  }

  @Test("The update is off by what the steps say", arguments: [0.02, 0.1])
  func error(quality: Double) throws {
    let policy = Policy.adamq(quality: quality)
    // Where v is 0, so is m, as an optimizer has it: m / ε would be all that counts.
    var (moments, v) = pairValues(300_000, seed: 114)
    for index in v.indices where v[index] == 0 { moments[index] = 0 }
    let pair = Pair(moments, v).with {
      ($0.step, $0.secondStep, $0.epsilon) = (policy.rules[0].step, policy.rules[1].step, 1e-8)
    }
    let reader = try opened(pair.file())
    let error = try #require(reader.measuredPairs.first?.error)
    #expect((error.relativeL2Error / quality - 1).magnitude < 0.05)
    let info = try reader.named("m").info
    guard case .rms(let factor)? = policy.rules[0].step else { return #expect(Bool(false)) }
    // Quotients of these moments are even between −1 and 1, but for zeros.
    let step = factor / 3.0.squareRoot()
    let guarantee = try #require(info.guaranteedMaxRelError)
    #expect((guarantee / (step / 2) - 1).magnitude < 0.07)
  }

  @Test("What was decoded is encoded to itself under the same step")
  func again() throws {
    let pair = Self.pair(20_000, .absolute(0.03), .octaves(0.4))
    let first = try opened(pair.file())
    let decoded = Pair(try Self.floats(first, "m"), try Self.floats(first, "v"))
    let second = try opened(
      decoded.with { ($0.step, $0.secondStep, $0.fallback) = (.absolute(0.03), .octaves(0.4), Self.linear) }.file())
    #expect(try Self.floats(second, "m") == Self.floats(first, "m"))
    #expect(try Self.floats(second, "v") == Self.floats(first, "v"))
  }

  @Test("A first moment that cannot be in the update domain has the step of its own values")
  func fallback() throws {
    let (m, v) = pairValues(5000, seed: 112)
    var negative = v
    negative[77] = -1
    let pair = Pair(m, negative).with {
      ($0.step, $0.secondStep, $0.fallback, $0.negativeFallsBack) = (.rms(0.5), .octaves(0.5), Self.linear, true)
    }
    let reader = try opened(pair.file())
    #expect(try reader.named("m").info.reason == .secondMomentNotUsable)
    let squares = m.reduce(0) { $0 + Double($1) * Double($1) } / Double(m.count { $0 != 0 })
    let steps = Set(
      try Self.floats(reader, "m").map { ($0.magnitude / Float(0.5 * squares.squareRoot()) * 100).rounded() })
    // Whole steps: 0, 1, 2, … of nearly the asked size, of which the greatest element has some ten.
    #expect((5...30).contains(steps.count) && steps.contains(0))
    // An absolute step is one of quotients: the fallback has none.
    let other = try opened(pair.with { $0.step = .absolute(0.5) }.file())
    #expect(Set(try Self.floats(other, "m")).count > 500)
  }

  @Test("A step that the scheme does not have is refused before anything is written")
  func refused() throws {
    for pair in [Self.pair(5000, .octaves(1), nil), Self.pair(5000, nil, .rms(1)), Self.pair(5000, .rms(-1), nil)] {
      #expect(inputError { _ = try pair.file() }?.code == .unsupportedScheme)
    }
  }

  @Test("Tensors of zeros, and quotients that overflow, leave no trace of a step")
  func edges() throws {
    let zeros = [Float](repeating: 0, count: 5000)
    let (m, v) = pairValues(5000, seed: 113)
    for pair in [Pair(zeros, zeros), Pair(zeros, v), Pair(m, zeros)] {
      let reader = try opened(
        pair.with { ($0.step, $0.secondStep, $0.fallback) = (.rms(0.3), .octaves(0.5), Self.linear) }.file())
      #expect(try Self.floats(reader, "m").count { $0 != 0 } <= pair.m.count / 4)
      #expect(try reader.named("v").info.statistics.zerosCreated == 0)
    }
    let huge = Pair(m.map { $0 * 1e37 }, v.map { $0 * 1e-20 }).with {
      ($0.step, $0.secondStep, $0.fallback) = (.rms(0.3), .octaves(0.5), Self.linear)
    }
    #expect(try opened(huge.file()).named("m").info.reason == .updateNotFinite)
  }
}
