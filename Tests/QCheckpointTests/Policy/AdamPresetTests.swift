import QCodec
import Testing

@testable import QCheckpoint

@Suite("The presets adam8 and adam4")
struct AdamPresetTests {
  private struct Schemes {
    let first: Scheme
    let second: Scheme
    let momentum: Scheme
  }

  private static let wanted: [String: Schemes] = [
    "adam8": Schemes(
      first: updateScheme(.block(256), map: .cubic), second: log8,
      momentum: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))),
    "adam4": Schemes(
      first: updateScheme(.block(128), map: .cubic, bits: 4), second: log4,
      momentum: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128))),
  ]

  private func plan(_ preset: String, _ tensors: [TensorSummary]) throws -> [Encoding] {
    try #require(Policy.preset(preset)).plan(tensors).compactMap { $0.decision.plan?.encoding }
  }

  @Test("Schemes of each role", arguments: ["adam8", "adam4"])
  func schemes(preset: String) throws {
    let wanted = try #require(Self.wanted[preset])
    let names = ["exp_avg/w", "exp_avg_sq/w", "momentum_buffer/w", "param/w", "fp32/w", "other", "exp_avg/u", "sum/0"]
    let tensors = names.map { TensorSummary(name: $0, dtype: .f32, shape: [4096]) }
    #expect(
      try plan(preset, tensors) == [
        .quantized(wanted.first), .quantized(wanted.second), .quantized(wanted.momentum), .lossless(reason: .none),
        .lossless(reason: .none), .lossless(reason: .none), .quantized(wanted.momentum, reason: .noSecondMoment),
        .lossless(reason: .none),
      ])
    // The default is the 8-bit one.
    #expect(Policy.defaultName == "adam8" && Policy.presetNames.contains(preset))
  }

  @Test("Under 4,096 elements everything is lossless, the pair together", arguments: ["adam8", "adam4"])
  func small(preset: String) throws {
    let small = Encoding.lossless(reason: .tooSmall)
    for (count, isSmall) in [(4095, true), (4096, false)] as [(UInt64, Bool)] {
      let tensors = ["exp_avg/w", "exp_avg_sq/w", "momentum_buffer/w"].map {
        TensorSummary(name: $0, dtype: .bf16, shape: [count])
      }
      let found = try plan(preset, tensors)
      #expect((found == [small, small, small]) == isSmall)
    }
    let integers = try plan(preset, [TensorSummary(name: "exp_avg/w", dtype: .i32, shape: [5000])])
    #expect(integers == [.lossless(reason: .dtype)])
  }

  @Test("What is stored: the reasons are in the directory", arguments: ["adam8", "adam4"])
  func stored(preset: String) throws {
    let policy = try #require(Policy.preset(preset))
    let wanted = try #require(Self.wanted[preset])
    let (m, v) = pairValues(5000, seed: 101)
    var negative = v
    negative[4999] = -1
    // By name: values, and what each is stored under.
    let tensors: [(name: String, values: [Float])] = [
      ("a.exp_avg", m), ("a.exp_avg_sq", v), ("b.exp_avg", m), ("b.exp_avg_sq", negative), ("c.exp_avg", m),
      ("d.exp_avg", m.map { $0 * 1e37 }), ("d.exp_avg_sq", v.map { $0 * 1e-20 }), ("e.exp_avg_sq", negative),
    ]
    let planned = try policy.plan(tensors.map { TensorSummary(name: $0.name, dtype: .f32, shape: [5000]) })
    let file = try checkpoint { writer in
      for (index, item) in planned.enumerated() where !planned.contains(where: { $0.partner == index }) {
        let plan = try #require(item.decision.plan)
        func moment(_ index: Int) throws -> NewTensor {
          let plan = try #require(planned[index].decision.plan)
          return NewTensor(
            name: tensors[index].name, dtype: .f32, role: planned[index].role, encoding: plan.encoding,
            negativeFallsBack: plan.negativeFallsBack, source: MemorySource(tensors[index].values))
        }
        if let partner = item.partner {
          try writer.addPair(first: moment(index), second: moment(partner), shape: [5000], fallback: plan.fallback)
        } else {
          try writer.add(
            name: tensors[index].name, dtype: .f32, shape: [5000], role: item.role, encoding: plan.encoding,
            source: MemorySource(tensors[index].values), negativeFallsBack: plan.negativeFallsBack)
        }
      }
    }
    let reader = try opened(file)
    let found = (0..<8).map { (reader.tensor($0).scheme, reader.tensor($0).reason) }
    let schemes = [
      wanted.first, wanted.second, wanted.momentum, nil, wanted.momentum, wanted.momentum, wanted.second, nil,
    ]
    #expect(found.map(\.0) == schemes)
    #expect(
      found.map(\.1) == [
        .none, .none, .secondMomentNotUsable, .negative, .noSecondMoment, .updateNotFinite, .none, .negative,
      ])
    #expect(reader.tensor(0).reference == 1)
  }

  @Test("Overrides reach the fallback too", arguments: ["adam8", "adam4"])
  func overrides(preset: String) throws {
    let policy = try #require(Policy.preset(preset)).withStochasticRounding(seed: 7)
    let planned = try policy.plan(
      ["exp_avg/w", "exp_avg_sq/w", "exp_avg/u"].map { TensorSummary(name: $0, dtype: .f32, shape: [64, 64]) })
    for item in planned {
      let plan = try #require(item.decision.plan)
      guard case .quantized(let scheme, _) = plan.encoding else {
        Issue.record("not quantized")
        continue
      }
      #expect(scheme.rounding == .stochastic && scheme.seed == 7)
      if let fallback = plan.fallback { #expect(fallback.rounding == .stochastic && fallback.seed == 7) }
      #expect(throws: Never.self) { try TensorLayout(dtype: .f32, shape: [64, 64], scheme: scheme) }
    }
    // keep-nonzero leaves maps without a zero alone, the log map among them.
    let kept = try #require(Policy.preset(preset)).keepingNonzero()
    for rule in kept.rules {
      guard case .quantize(let scheme) = rule.action else { continue }
      #expect(throws: Never.self) { try TensorLayout(dtype: .f32, shape: [64, 64], scheme: scheme) }
      #expect((scheme.rounding == .nearest) == (scheme.map == .log))
    }
  }
}
