import QCodec
import QOptimizers
import Testing

@Suite("Steps that are checked beforehand")
struct CheckTests {
  @Test(
    "A checked step is the same; a check finds what the step would, and moves nothing", arguments: everyScheme.indices)
  func checked(index: Int) throws {
    let (rule, schemes) = (everyRule[0], everyScheme[index])
    var plain = try Trained(rule, shape: [97, 101], schemes)
    var checked = plain
    let given = gradients(97 * 101, step: 1)
    var settings = StepSettings(number: 1)
    try checked.check(rule, settings, given)
    #expect(checked.parameters == plain.parameters && checked.moments == plain.moments)
    try plain.step(rule, settings, given)
    settings.isChecked = true
    try checked.step(rule, settings, given)
    #expect(checked.parameters == plain.parameters && checked.moments == plain.moments)

    var bad = given
    bad[9000] = .nan
    #expect(throws: QCodecError.self) { try checked.check(rule, StepSettings(number: 2), bad) }
  }
}
