import QCheckpoint
import Testing

@Suite struct RoleTests {
  private func role(_ name: String, _ others: String...) -> Role { .recognize(name: name, among: [name] + others) }

  @Test(arguments: [
    ("exp_avg/blocks.0.fc.bias", Role.firstMoment), ("exp_avg_sq/blocks.0.fc.bias", .secondMoment),
    ("state.0.exp_avg", .firstMoment), ("state.0.exp_avg_sq", .secondMoment), ("state.0.max_exp_avg_sq", .secondMoment),
    ("state.3.momentum_buffer", .momentum), ("momentum_buffer/layer1.0.conv1.weight", .momentum),
    ("square_avg/w", .secondMoment), ("grad_avg/w", .firstMoment), ("state.0.acc_delta", .secondMoment),
    ("opt_state.0.trace.Dense_0.kernel", .momentum), ("opt[0].sum_of_squares['w']", .secondMoment),
    ("optimizer.state.exp_avg.module.decoder.weight", .firstMoment), ("fp32/wte.weight", .masterWeight),
    ("master_params.0", .masterWeight), ("wte.weight_exp_avg", .firstMoment), ("wte.weight_exp_avg_sq", .secondMoment),
    ("wte.weight_max_exp_avg_sq", .secondMoment), ("wte-momentum_buffer", .momentum),
    ("step/layers.5.weight", .parameter), ("step.weight", .parameter), ("model.step_encoder.bias", .parameter),
    ("état.exp_avg.é", .firstMoment), ("🙂_exp_avg", .firstMoment), ("a\u{301}.exp_avg_sq", .secondMoment),
    ("param/wte.weight", .parameter), ("model.layers.0.q_proj.weight", .parameter), ("Dense_0/kernel", .parameter),
  ])
  func namesOfEveryFrameworkAreRecognised(name: String, expected: Role) {
    #expect(role(name) == expected, "\(name)")
  }

  @Test(arguments: [
    "step", "state.0.step", "buffer/bn.running_mean", "exp_avg_sq_row/w", "exp_avg_sq_col/w", "state.0.row_var",
    "state.0.col_var", "v_row", "momentum_encoder", "my_exp_avgs_x", "exp_average", "expavg", "", "...", "tracer.x",
    "layers.5.weight/step", "weight.step", "model.bn.bias.num_batches_tracked", "param/wte.weight/count",
    "params.0.global_step", "state.0.exp_avg.codes", "exp_avg.scale", "state.0.qmap1", "state.0.absmax1",
    "state.0.state1", "EXP_AVG",
  ])
  func factoredQuantizedAndStrangeNamesAreOther(name: String) {
    #expect(role(name) == .other, "\(name)")
  }

  @Test func bareNamesCountOnlyInPairs() {
    #expect(role("m/weight") == .parameter)
    #expect(role("m/x") == .other)
    #expect(role("v/x") == .other)
    #expect(role("m/x", "v/y") == .other)
    #expect(role("m/x", "v/x") == .firstMoment)
    #expect(role("v/x", "m/x") == .secondMoment)
    #expect(role("x.mu", "x.nu") == .firstMoment)
    #expect(role("opt[0].nu['x']", "opt[0].mu['x']") == .secondMoment)
    #expect(role("s.0.state1", "s.0.state2") == .firstMoment)
    #expect(role("s.0.state2", "s.0.state1") == .secondMoment)
    #expect(role("x/velocity") == .momentum)
    #expect(role("x/velocity", "x/momentum") == .secondMoment)
    #expect(role("x/momentum", "x/velocity") == .firstMoment)
    #expect(role("x/momentum") == .momentum)
    #expect(role("0.sum") == .other)
    #expect(role("0.sum", "0.step") == .secondMoment)
  }

  @Test func aModuleNamedLikeAStateDoesNotDecide() {
    #expect(role("exp_avg/attn.v.weight", "exp_avg/attn.m.weight") == .firstMoment)
    #expect(role("m/attn.v.weight", "v/attn.v.weight") == .firstMoment)
    #expect(role("v/attn.m.weight", "m/attn.m.weight") == .secondMoment)
    #expect(role("exp_avg/momentum.weight") == .firstMoment)
    #expect(role("momentum_buffer/trace.weight") == .momentum)
  }

  @Test func aFirstMomentWhosePartnerIsFactoredStaysOne() {
    #expect(role("m/big", "v_row/big", "m/small", "v/small") == .firstMoment)
  }
}
