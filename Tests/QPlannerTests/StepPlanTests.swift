import QCheckpoint
import QCodec
import Testing

@testable import QPlanner

@Suite("Plans with uniform steps")
struct StepPlanTests {
  private static func planner(_ compression: Compression) throws -> Planner {
    var options = Planner.Options()
    options.compression = compression
    return try Planner(PlannerTests.document(), options)
  }

  private static func steps(_ planner: Planner) -> [PlanCandidate] {
    planner.units.flatMap(\.candidates).map(\.candidate).filter { $0.firstStep != nil || $0.secondStep != nil }
  }

  @Test("Steps are tried where zstd follows, and nowhere else")
  func tried() throws {
    #expect(try Self.steps(Self.planner(.none)).isEmpty)
    #expect(try Self.steps(Self.planner(.lz4)).isEmpty)
    // Fourteen for each of two pairs and a momentum.
    #expect(try Self.steps(Self.planner(.zstd)).count == 42)
  }

  @Test("Encoding under the policy stores what was planned, to the byte")
  func encoded() throws {
    let (document, planner) = (PlannerTests.document(), try Self.planner(.zstd))
    guard case .met(let plan) = planner.plan(.storedBits(6.5 * 17_288)) else { return #expect(Bool(false)) }
    #expect(plan.choices.contains { $0.chosen.candidate.firstStep != nil })
    let policy = try Policy(json: JSONValue(parsing: plan.policy(name: "own").json.serialized()))
    let tensors = document.tensors
    let planned = try policy.plan(tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape) })
    func new(_ index: Int) -> NewTensor? {
      guard case .encode(let own) = planned[index].decision else { return nil }
      return NewTensor(
        name: tensors[index].name, dtype: tensors[index].dtype, role: planned[index].role, encoding: own.encoding,
        compression: own.compression, step: own.step, source: tensors[index].source)
    }
    let partners = Set(planned.compactMap(\.partner))
    let additions: [Addition] = try tensors.indices.filter { !partners.contains($0) }.map { index in
      let own = try #require(new(index))
      guard let partner = planned[index].partner else { return .tensor(own, shape: tensors[index].shape) }
      return .pair(first: own, second: try #require(new(partner)), shape: tensors[index].shape, fallback: nil)
    }
    var bytes: [UInt8] = []
    let writer = try unsafe CheckpointWriter(
      writing: { part throws(QCodecError) in unsafe bytes.append(contentsOf: part) },
      options: .init(compression: .zstd, threads: 1))
    try writer.add(additions, measuring: 1e-8)
    _ = try writer.finish()
    let reader = try CheckpointReader(source: MemorySource(bytes: bytes))
    let infos = (0..<reader.tensorCount).map { reader.tensor($0) }
    let stored = infos.filter { $0.elementCount >= 4096 && $0.name != "weight" }.reduce(0) {
      $0 + Double($1.storedBytes)
    }
    #expect(stored * 8 == plan.choices.reduce(0) { $0 + $1.chosen.storedBits })
    let error = reader.measuredPairs.reduce(0) { $0 + $1.error.squaredError }
    // What is not in the update domain is not measured while it is written.
    let paired = plan.choices.filter { $0.unit.unit.isPair && $0.chosen.candidate.first?.domain == .update }
    #expect(reader.measuredPairs.count == paired.count && !paired.isEmpty)
    let wanted = paired.reduce(0) { $0 + $1.chosen.squaredError }
    #expect((error / wanted - 1).magnitude < 1e-12)
  }
}
