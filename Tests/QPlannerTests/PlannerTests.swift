import QCheckpoint
import QCodec
import TestSupport
import Testing

@testable import QPlanner

@Suite("Plans")
struct PlannerTests {
  /// Two pairs, a momentum, a tensor too small to take part, and a parameter.
  static func document() -> InputDocument {
    var numbers = SeededGenerator(seed: 11)
    func normal() -> Float { (0..<6).reduce(0) { sum, _ in sum + Float(numbers.next() % 2001) / 1000 - 1 } }
    func tensor(_ name: String, _ values: [Float]) -> InputTensor {
      let bytes = values.flatMap { value in
        (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> UInt32($0 * 8)) }
      }
      return InputTensor(name: name, dtype: .f32, shape: [UInt64(values.count)], source: MemorySource(bytes: bytes))
    }
    func squares(_ count: Int) -> [Float] {
      (0..<count).map { index in
        let root = normal() * Float(1 << (index / 512 % 8)) * 1e-4
        return root * root + 1e-12
      }
    }
    return InputDocument(
      tensors: [
        tensor("exp_avg.a", (0..<8192).map { _ in normal() * 1e-4 }), tensor("exp_avg_sq.a", squares(8192)),
        tensor("exp_avg.b", (0..<5000).map { _ in normal() * 1e-2 }), tensor("exp_avg_sq.b", squares(5000)),
        tensor("momentum_buffer.c", (0..<4096).map { _ in normal() }), tensor("exp_avg.small", [1, 2, 3]),
        tensor("weight", (0..<5000).map { _ in normal() }),
      ], metadata: [:], kind: "test", files: [])
  }

  private static func planner(_ change: (inout Planner.Options) -> Void = { _ in }) throws -> Planner {
    var options = Planner.Options()
    change(&options)
    return try Planner(document(), options)
  }

  /// Made once: it is the same for all that ask it.
  private static let whole = Result { try planner() }

  private func met(_ outcome: Planner.Outcome) throws -> Plan {
    guard case .met(let plan) = outcome else { throw QCodecError(.invalidArgument, "the budget was missed") }
    return plan
  }

  @Test("Units are pairs and moments alone, of 4,096 elements and more")
  func units() throws {
    let units = try PlanUnit.units(of: Self.document())
    #expect(
      units.map { $0.tensors.map(\.name) } == [
        ["exp_avg.a", "exp_avg_sq.a"], ["exp_avg.b", "exp_avg_sq.b"], ["momentum_buffer.c"],
      ])
  }

  @Test(
    "A budget of bits is kept, and no preset within it is better",
    arguments: [4.9, 6.3, 7.9, 8.5, 10, 12.4, 16.25, 24, 64])
  func bits(budget: Double) throws {
    let planner = try Self.whole.get()
    let plan = try met(planner.plan(.bitsPerParameter(budget)))
    #expect(plan.bitsPerParameter <= budget)
    let error = { (plan: Plan) in plan.choices.reduce(0) { $0 + $1.chosen.squaredError } }
    for name in ["adam8", "adam4", "live8"] {
      let policy = try #require(Policy.preset(name))
      let preset = try #require(try planner.plan(of: policy))
      if preset.bitsPerParameter <= budget { #expect(error(plan) <= error(preset), "\(name)") }
    }
    if budget == 64 { #expect(error(plan) == 0) }
  }

  @Test("Bounds on errors are kept by the fewest bits that were found")
  func errors() throws {
    let planner = try Self.whole.get()
    var before = Double.infinity
    for limit in [0, 0.001, 0.01, 0.1, 0.5] {
      let plan = try met(planner.plan(.updateError(limit)))
      #expect(plan.updateError <= limit)
      #expect(plan.bitsPerParameter <= before)
      before = plan.bitsPerParameter
      #expect(try met(planner.plan(.relativeL2(limit))).relativeL2 <= limit)
      #expect(try met(planner.plan(.absoluteError(limit))).maxAbsError <= limit)
    }
    #expect(try met(planner.plan(.updateError(0))).bitsPerParameter > 50)
  }

  @Test("A budget below every way is missed by the cheapest plan")
  func missed() throws {
    guard case .missed(let plan) = try Self.whole.get().plan(.bitsPerParameter(1)) else {
      Issue.record("one bit was enough")
      return
    }
    // Two bits for each moment, and scales; a momentum stands alone.
    let moments = Double(plan.choices.reduce(0) { $0 + $1.unit.unit.tensors.count * $1.unit.unit.elements })
    let bits = plan.bitsPerParameter * Double(plan.parameters) / moments
    #expect(bits > 2 && bits < 2.3)
  }

  @Test("Encoding under the policy stores what was planned, to the bit")
  func policy() throws {
    let document = Self.document()
    let plan = try met(Self.whole.get().plan(.bitsPerParameter(10)))
    let policy = try Policy(json: JSONValue(parsing: plan.policy(name: "own").json.serialized()))
    let tensors = document.tensors
    let planned = try policy.plan(tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape) })
    var bits = 0
    for (unit, chosen) in plan.choices {
      for (tensor, scheme) in [(unit.unit.first, chosen.candidate.first), (unit.unit.second, chosen.candidate.second)] {
        guard let tensor, let place = tensors.firstIndex(where: { $0.name == tensor.name }),
          case .encode(let stored) = planned[place].decision
        else { continue }
        guard case .quantized(let own, _) = stored.encoding else {
          #expect(scheme == nil)
          bits += unit.unit.elements * 32
          continue
        }
        #expect(own == scheme)
        bits += try TensorLayout(dtype: .f32, shape: tensor.shape, scheme: own).streamByteCount * 8
        bits += own.customTable.map { $0.entries.count * 32 } ?? 0
      }
    }
    #expect(Double(bits) / Double(plan.parameters) == plan.bitsPerParameter)
    // What is not planned is lossless.
    for (tensor, own) in zip(tensors, planned) where tensor.name == "weight" || tensor.name == "exp_avg.small" {
      guard case .encode(let stored) = own.decision, case .lossless = stored.encoding else {
        Issue.record("\(tensor.name) is not lossless")
        continue
      }
    }
  }

  @Test("Every width is among the ways of a pair, and custom tables are")
  func widths() throws {
    let candidates = try Self.whole.get().units[0].candidates.map(\.candidate)
    #expect(Set(candidates.compactMap(\.first?.bits)) == Set(Scheme.widths))
    #expect(Set(candidates.compactMap(\.second?.bits)) == Set(Scheme.widths))
    #expect(candidates.contains { $0.first?.map == .custom && $0.first?.bits ?? 8 < 8 })
    // What is dominated is not measured: there are thousands of pairs of schemes.
    #expect(candidates.count < 200)
  }

  @Test("Ways that a sample speaks for are as good as all of them")
  func screening() throws {
    let planner = try Self.planner { $0.boundsEach = false }
    let options = Planner.Options()
    let units = try PlanUnit.units(of: Self.document()).map { unit in
      let all = PlanCandidate.firsts.flatMap { first in
        PlanCandidate.seconds.map { PlanCandidate(first: first, second: $0) }
      }
      let candidates = unit.isPair ? PlanCandidate.catalogue(of: unit) + all : PlanCandidate.catalogue(of: unit)
      let measurer = UnitMeasurer(
        unit: unit, candidates: candidates, epsilon: options.epsilon, compression: options.compression)
      return try MeasuredUnit(unit, candidates, [measurer.measure(chunk: 0)], [0], options)
    }
    let curves = RateDistortion(
      points: units.map { $0.candidates.map { (rate: Double($0.bits), error: $0.squaredError) } })
    let parameters = units.reduce(0) { $0 + $1.unit.elements }
    for budget in [5.5, 8.5, 11, 16.25] {
      let chosen = try met(planner.plan(.bitsPerParameter(budget)))
      let all = try #require(curves.leastError(rate: budget * Double(parameters)))
      // Tables fitted to tensors, of which the thousands know nothing, more than make up for what is not tried.
      #expect(chosen.choices.reduce(0) { $0 + $1.chosen.squaredError } < 1.02 * curves.error(all), "\(budget) bits")
    }
  }

  @Test("The same at every number of threads")
  func threads() throws {
    let one = try Self.planner { $0.threads = 1 }, many = try Self.planner { $0.threads = 5 }
    for (own, other) in zip(one.units, many.units) {
      #expect(own.candidates.map(\.candidate) == other.candidates.map(\.candidate))
      #expect(own.candidates.map(\.squaredError) == other.candidates.map(\.squaredError))
    }
  }

  @Test("What no scheme holds can be stored lossless alone")
  func refused() throws {
    let bytes = [UInt8](repeating: 0xFF, count: 4 * 4096)
    let document = InputDocument(
      tensors: [InputTensor(name: "exp_avg", dtype: .f32, shape: [4096], source: MemorySource(bytes: bytes))],
      metadata: [:], kind: "test", files: [])
    let planner = try Planner(document, .init())
    #expect(planner.units[0].candidates.map(\.candidate) == [PlanCandidate()])
    #expect(try met(planner.plan(.bitsPerParameter(32))).bitsPerParameter == 32)
  }

  @Test("Names of any characters become patterns of their own")
  func names() throws {
    for name in ["a*b", "a?b", "[x]", "a[b", "a]b", "!^-", "é*"] {
      let glob = try Glob(literal: name)
      #expect(glob.matches(name))
      #expect(!glob.matches(name + "x") && !glob.matches("axb"))
    }
  }
}
