import QCodec
import Testing

@testable import QCheckpoint

extension Policy.Decision {
  /// How the tensor is to be stored; nil if it is dropped.
  var plan: Policy.TensorPlan? { if case .encode(let plan) = self { plan } else { nil } }
}

/// What the preset adam8 makes of tensors of 64 by 64 elements, unless a shape is given.
private func plan(_ names: [String], shapes: [String: [UInt64]] = [:]) throws -> [String: PlannedTensor] {
  let policy = try #require(Policy.preset("adam8"))
  let tensors = names.map { TensorSummary(name: $0, dtype: .f32, shape: shapes[$0] ?? [64, 64]) }
  return Dictionary(uniqueKeysWithValues: zip(names, try policy.plan(tensors)))
}

/// The name of the partner that a first moment gets, else the reason why it has none.
private func partner(_ first: String, _ others: String..., shapes: [String: [UInt64]] = [:]) throws -> String {
  let names = [first] + others
  let planned = try #require(try plan(names, shapes: shapes)[first])
  guard case .quantized(let scheme, let reason)? = planned.decision.plan?.encoding else { return "not quantized" }
  if let partner = planned.partner {
    #expect(scheme.domain == .update && reason == .none)
    return names[partner]
  }
  #expect(scheme.domain == .value)
  return reason.name ?? "no reason"
}

@Suite("Partners of first moments")
struct PartnerTests {
  @Test(
    "Names that differ in the role's token alone",
    arguments: [
      ("exp_avg/w", "exp_avg_sq/w"), ("state.0.exp_avg", "state.0.exp_avg_sq"), ("exp_avg", "exp_avg_sq"),
      ("w.weight_exp_avg", "w.weight_exp_avg_sq"), ("wte-exp_avg", "wte-exp_avg_sq"),
      ("optimizer.state.exp_avg.module.w", "optimizer.state.exp_avg_sq.module.w"),
      ("state/exp_avgs.3", "state/exp_avg_sqs.3"), ("m/w", "v/w"), ("opt[0].mu['w']", "opt[0].nu['w']"),
      ("0.state1", "0.state2"), ("x/momentum", "x/velocity"), ("first_moment.w", "second_moment.w"),
      ("adam_m.w", "adam_v.w"), ("moment1:w", "moment2:w"), ("grad_avg/w", "square_avg/w"),
    ])
  func pairs(first: String, second: String) throws {
    #expect(try partner(first, second) == second)
    // Other tensors do not matter, nor does the order.
    #expect(try partner(first, "step", "max_exp_avg_sq/w", "param/w", second) == second)
    let planned = try plan([second, first])
    #expect(planned[first]?.partner == 0 && planned[second]?.partner == nil)
    #expect(planned[first]?.role == .firstMoment && planned[second]?.role == .secondMoment)
  }

  @Test("Names that differ in normalisation alone are names of different tensors")
  func normalisation() throws {
    let names = ["e\u{301}.exp_avg_sq", "\u{E9}.exp_avg_sq", "\u{E9}.exp_avg", "e\u{301}.exp_avg"]
    let policy = try #require(Policy.preset("adam8"))
    let planned = try policy.plan(names.map { TensorSummary(name: $0, dtype: .f32, shape: [64, 64]) })
    #expect(planned.map(\.partner) == [nil, nil, 1, 0])
    // Halves of a pair under names of two tensors are no pair.
    let recognizer = RoleRecognizer(names: ["e\u{301}/m", "\u{E9}/v"])
    #expect(recognizer.role(of: "e\u{301}/m") == .other)
  }

  @Test("A stated role counts where the name tells none")
  func statedRoles() throws {
    let policy = try #require(Policy.preset("adam8"))
    let tensors = [("a", Role.momentum), ("b.exp_avg_sq", .momentum), ("c", .firstMoment), ("d", .secondMoment)].map {
      TensorSummary(name: $0, dtype: .f32, shape: [64, 64], role: $1)
    }
    let planned = try policy.plan(tensors)
    #expect(planned.map(\.role) == [.momentum, .secondMoment, .firstMoment, .secondMoment])
    // Partners are found by name alone.
    #expect(planned.allSatisfy { $0.partner == nil })
    guard case .quantized(let scheme, let reason)? = planned[2].decision.plan?.encoding else {
      Issue.record("a stated first moment is not quantized")
      return
    }
    #expect(scheme.domain == .value && reason == .noSecondMoment)
    #expect(planned[3].decision.plan?.encoding == .quantized(log8))
  }

  @Test("AMSGrad's maximum is no partner, and has none")
  func maximum() throws {
    let names = ["s.exp_avg", "s.exp_avg_sq", "s.max_exp_avg_sq"]
    #expect(try partner("s.exp_avg", "s.exp_avg_sq", "s.max_exp_avg_sq") == "s.exp_avg_sq")
    #expect(try partner("s.exp_avg", "s.max_exp_avg_sq") == "no_second_moment")
    let planned = try plan(names)
    #expect(planned["s.max_exp_avg_sq"]?.role == .secondMoment && planned["s.max_exp_avg_sq"]?.partner == nil)
    #expect(planned["s.max_exp_avg_sq"]?.decision.plan?.encoding == .quantized(log8))
  }

  @Test("None: alone, of another shape, under another name, factored")
  func none() throws {
    #expect(try partner("exp_avg/w") == "no_second_moment")
    #expect(try partner("exp_avg/w", "exp_avg_sq/u") == "no_second_moment")
    #expect(try partner("exp_avg/w", "exp_avg_sq.w") == "no_second_moment")
    #expect(try partner("a_exp_avg", "b_exp_avg_sq") == "no_second_moment")
    #expect(try partner("exp_avg/w", "exp_avg_sq_row/w", "exp_avg_sq_col/w") == "no_second_moment")
    for shape in [[4096], [64, 64, 1], [32, 128], [64, 65], []] as [[UInt64]] {
      #expect(try partner("exp_avg/w", "exp_avg_sq/w", shapes: ["exp_avg_sq/w": shape]) == "no_second_moment")
    }
  }

  @Test("Several: two second moments, each as good")
  func several() throws {
    #expect(try partner("exp_avg/w", "exp_avg_sq/w", "square_avg/w") == "several_second_moments")
    // Of which one has another shape.
    let shapes: [String: [UInt64]] = ["square_avg/w": [64, 65]]
    #expect(try partner("exp_avg/w", "exp_avg_sq/w", "square_avg/w", shapes: shapes) == "exp_avg_sq/w")
  }

  @Test("Not usable: a partner that is too small, not of a float, or taken")
  func unusable() throws {
    let policy = try #require(Policy.preset("adam8"))
    for (dtype, wanted) in [(DType.f32, FallbackReason.none), (.f64, .secondMomentNotUsable)] {
      let planned = try policy.plan([
        TensorSummary(name: "exp_avg/w", dtype: .f32, shape: [64, 64]),
        TensorSummary(name: "exp_avg_sq/w", dtype: dtype, shape: [64, 64]),
      ])
      #expect(planned[0].decision.plan?.encoding.reason == wanted, "\(dtype)")
    }
    let planned = try plan(["exp_avg_slow/w", "exp_avg_fast/w", "exp_avg_sq/w"])
    #expect(planned["exp_avg_slow/w"]?.partner == 2)
    #expect(planned["exp_avg_fast/w"]?.decision.plan?.encoding.reason == .secondMomentNotUsable)
  }

  @Test("Momentum has no partner, nor has a second moment or a parameter")
  func momentum() throws {
    let planned = try plan(["momentum_buffer/w", "square_avg/w", "velocity.w"])
    for (name, map) in [
      ("momentum_buffer/w", Scheme.Map.dynamic), ("square_avg/w", .log), ("velocity.w", .dynamic),
    ] {
      #expect(planned[name]?.partner == nil)
      guard case .quantized(let scheme, .none)? = planned[name]?.decision.plan?.encoding else {
        Issue.record("\(name) is not quantized without a reason")
        continue
      }
      #expect(scheme.map == map && scheme.domain == .value, "\(name)")
    }
  }

  @Test("A rule that gives the update domain to what is no first moment gives the fallback")
  func otherRoles() throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(64), domain: .update)
    let policy = Policy(name: "p", rules: [.init(match: .init(), action: .quantize(scheme))])
    let planned = try policy.plan([TensorSummary(name: "momentum_buffer/w", dtype: .f32, shape: [64])])
    let fallback = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(64))
    #expect(planned[0].decision.plan?.encoding == .quantized(fallback, reason: .noSecondMoment))
  }

  @Test("Pairs of a file: by reference, else by name, in the order of the first")
  func ofAFile() throws {
    let file = try checkpoint { writer in
      for (first, second) in [("z.exp_avg", "y.exp_avg_sq"), ("b.exp_avg", "b.exp_avg_sq")] {
        try Pair(shape: [100], seed: 1).with { $0.names = (first, second) }.add(to: writer)
      }
      for (name, role) in [("a.exp_avg", Role.firstMoment), ("a.exp_avg_sq", .secondMoment), ("c", .firstMoment)] {
        try writer.add(
          name: name, dtype: .u8, shape: [4], role: role, encoding: .lossless(reason: .none),
          source: MemorySource(bytes: [1, 2, 3, 4]))
      }
    }
    let reader = try opened(file)
    let pairs = reader.momentPairs().map { [reader.tensor($0.first).name, reader.tensor($0.second).name] }
    #expect(pairs == [["a.exp_avg", "a.exp_avg_sq"], ["b.exp_avg", "b.exp_avg_sq"], ["z.exp_avg", "y.exp_avg_sq"]])
  }
}
