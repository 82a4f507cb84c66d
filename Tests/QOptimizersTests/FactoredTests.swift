import QCodec
import Testing

@testable import QOptimizers

@Suite("Factored second moments")
struct FactoredTests {
  private static let rule: OptimizerRule = {
    var adam = OptimizerRule.Adam()
    (adam.weightDecay, adam.isDecoupled) = (0.01, false)
    return .adam(adam)
  }()

  @Test("Rows and columns are cut where there are fewest of both")
  func shapes() throws {
    let cut = { (shape: [UInt64]) in FactoredShape(shape: shape).map { [$0.rows, $0.columns] } }
    #expect(cut([300, 200]) == [300, 200])
    #expect(cut([64, 32, 3, 3]) == [64, 288])
    #expect(cut([8, 512, 512]) == [4096, 512])
    #expect(cut([2, 1, 3]) == [2, 3])
    for none in [[], [5], [1, 7], [7, 1, 1], [0, 4], [.max, .max]] as [[UInt64]] { #expect(cut(none) == nil) }
  }

  @Test("Every kernel level and number of threads, bit for bit", arguments: factoredSchemes.indices)
  func levels(index: Int) throws {
    for shape in [[UInt64(97), 101], [2, 5, 3, 31], [613, 1021]] {
      var reference = try Trained(Self.rule, shape: shape, factoredSchemes[index], parameters: .bf16)
      try reference.steps(Self.rule, 1...3, kernels: .scalar)
      for level in KernelLevel.allCases where level.isSupported && level != .scalar {
        var other = try Trained(Self.rule, shape: shape, factoredSchemes[index], parameters: .bf16)
        try other.steps(Self.rule, 1...3, threads: 5, kernels: level)
        #expect(other.parameters == reference.parameters, "parameters, \(level.name), \(shape)")
        #expect(other.moments == reference.moments, "moments, \(level.name), \(shape)")
      }
    }
  }

  @Test("Factors are moving averages of the means of squares")
  func averages() throws {
    var plain = OptimizerRule.Adam()
    plain.weightDecay = 0
    let rule = OptimizerRule.adam(plain)
    let (rows, columns) = (37, 53)
    var trained = try Trained(rule, shape: [UInt64(rows), UInt64(columns)], .init(isSecondFactored: true))
    var parameters = trained.values.map(Double.init)
    var (r, c) = ([Double](repeating: 0, count: rows), [Double](repeating: 0, count: columns))
    var m = [Double](repeating: 0, count: rows * columns)
    for step in 1...4 {
      let gradients = gradients(rows * columns, step: UInt64(step))
      try trained.step(rule, StepSettings(number: UInt64(step)), gradients)
      let squares = gradients.map { Double($0) * Double($0) }
      for i in 0..<rows {
        r[i] = 0.999 * r[i] + 0.001 * squares[i * columns..<(i + 1) * columns].reduce(0, +) / Double(columns)
      }
      for j in 0..<columns {
        let sum = stride(from: j, to: squares.count, by: columns).reduce(0) { $0 + squares[$1] }
        c[j] = 0.999 * c[j] + 0.001 * sum / Double(rows)
      }
      let mean = r.reduce(0, +) / Double(rows)
      let (first, second) = (1 - power(0.9, step), 1 - power(0.999, step))
      for e in m.indices {
        m[e] = 0.9 * m[e] + 0.1 * Double(gradients[e])
        let v = r[e / columns] * c[e % columns] / mean
        parameters[e] -= 1e-3 * (m[e] / first) / ((v / second).squareRoot() + 1e-8)
      }
    }
    let factors = DType.f32.floats(of: trained.moments[1])
    for (found, expected) in zip(factors, r + c) { #expect(abs(Double(found) - expected) <= 1e-5 * expected) }
    for (found, expected) in zip(trained.values, parameters) { #expect(abs(Double(found) - expected) < 2e-6) }
  }

  private func power(_ base: Double, _ exponent: Int) -> Double { (0..<exponent).reduce(1) { p, _ in p * base } }

  @Test("Gradients of zero leave everything where it is")
  func zeros() throws {
    var plain = OptimizerRule.Adam()
    plain.weightDecay = 0
    var trained = try Trained(.adam(plain), shape: [64, 96], factoredSchemes[2])
    let before = trained.parameters
    try trained.step(.adam(plain), StepSettings(number: 1), [Float](repeating: 0, count: 64 * 96))
    #expect(trained.parameters == before)
  }

  @Test("What cannot be factored is refused")
  func refusals() throws {
    func refused(_ rule: OptimizerRule, _ shape: [UInt64], _ schemes: StateLayout.Schemes) {
      #expect { try StateLayout(rule: rule, shape: shape, schemes: schemes) } throws: {
        ($0 as? QCodecError)?.code == .unsupportedScheme
      }
    }
    var amsgrad = OptimizerRule.Adam()
    amsgrad.isAMSGrad = true
    refused(.adam(amsgrad), [8, 8], .init(isSecondFactored: true))
    refused(.lamb(.init()), [8, 8], .init(isSecondFactored: true))
    refused(.rmsprop(.init()), [8, 8], .init(isSecondFactored: true))
    refused(Self.rule, [64], .init(isSecondFactored: true))
    let update = Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update)
    refused(Self.rule, [64, 64], .init(first: update, isSecondFactored: true))
  }

  @Test("Factors that no step leaves behind are refused before anything moves", arguments: [-1, Float.infinity, .nan])
  func wrongFactors(factor: Float) throws {
    var trained = try Trained(Self.rule, shape: [16, 16], .init(isSecondFactored: true))
    trained.moments[1].replaceSubrange(12..<16, with: DType.f32.bytes([factor]))
    let before = trained.parameters
    #expect { try trained.steps(Self.rule, 1...1) } throws: {
      ($0 as? QCodecError)?.code == .invalidScale && ($0 as? QCodecError)?.tensor == "w"
    }
    #expect(trained.parameters == before)
  }
}
