import QCodec
import Testing

@testable import QOptimizers

@Suite("A step is the same whatever takes it")
struct EquivalenceTests {
  /// Schemes in the update domain go with rules that have a second moment alone.
  private static let cases: [(rule: OptimizerRule, schemes: StateLayout.Schemes)] = everyRule.flatMap { rule in
    everyScheme.compactMap { schemes in
      schemes.first?.domain == .update && rule.moments.first && !rule.moments.second ? nil : (rule, schemes)
    }
  }

  @Test("Every kernel level, bit for bit", arguments: cases.indices)
  func levels(index: Int) throws {
    let (rule, schemes) = Self.cases[index]
    // Rows and columns to scale, a tail that fills no vector, and more than one chunk's worth only where it is cheap.
    for shape in [[UInt64(97), 101], [1], [4099]] {
      var reference = try Trained(rule, shape: shape, schemes)
      try reference.steps(rule, 1...3, kernels: .scalar)
      for level in KernelLevel.allCases where level.isSupported && level != .scalar {
        var other = try Trained(rule, shape: shape, schemes)
        try other.steps(rule, 1...3, kernels: level)
        #expect(other.parameters == reference.parameters, "parameters, \(level.name), \(shape)")
        for moment in 0..<3 {
          #expect(other.moments[moment] == reference.moments[moment], "moment \(moment), \(level.name), \(shape)")
        }
      }
    }
  }

  @Test("Parameters and gradients of every type, bit for bit", arguments: [DType.f32, .bf16, .f16])
  func dtypes(dtype: DType) throws {
    let rule = everyRule[0]
    for schemes in everyScheme {
      for gradients in [DType.f32, .bf16, .f16] {
        var reference = try Trained(rule, shape: [1037], schemes, parameters: dtype, gradients: gradients)
        try reference.steps(rule, 1...2, kernels: .scalar)
        for level in KernelLevel.allCases where level.isSupported && level != .scalar {
          var other = try Trained(rule, shape: [1037], schemes, parameters: dtype, gradients: gradients)
          try other.steps(rule, 1...2, kernels: level)
          #expect(other.parameters == reference.parameters && other.moments == reference.moments)
        }
      }
    }
  }

  @Test("Every number of threads", arguments: cases.indices)
  func threads(index: Int) throws {
    let (rule, schemes) = Self.cases[index]
    let shape: [UInt64] = [3, 150_001]
    var one = try Trained(rule, shape: shape, schemes)
    try one.steps(rule, 1...2, threads: 1)
    var many = try Trained(rule, shape: shape, schemes)
    try many.steps(rule, 1...2, threads: 7)
    #expect(one.parameters == many.parameters && one.moments == many.moments)
  }

  @Test("A coded step is the exact one, encoded", arguments: everyScheme.indices)
  func encoded(index: Int) throws {
    // From a fresh state: the moments of the first step are those of float32.
    let (rule, schemes) = (everyRule[0], everyScheme[index])
    var exact = try Trained(rule, shape: [97, 101], .init())
    var coded = try Trained(rule, shape: [97, 101], schemes)
    try exact.steps(rule, 1...1)
    try coded.steps(rule, 1...1)
    #expect(coded.parameters == exact.parameters)
    guard let layout = coded.layout.second.layout, layout.scheme.rounding == .nearest else { return }
    let codec = try TensorCodec(dtype: .f32, shape: [97, 101], scheme: layout.scheme)
    let (stream, _) = try codec.encode(DType.f32.floats(of: exact.moments[1]))
    #expect(stream == coded.moments[1])
  }
}
