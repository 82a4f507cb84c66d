import QCheckpoint
import QCodec
import QPlanner

/// A plan beside the presets and the front that it lies on, as text and as a document.
struct PlanTable {
  private let planner: Planner
  private let plan: Plan
  /// Of the whole file, where it was asked for.
  private let size: UInt64?

  private static let presets = ["adam8", "adam4", "live8", "live4"]

  init(_ planner: Planner, _ plan: Plan, size: UInt64?) { (self.planner, self.plan, self.size) = (planner, plan, size) }

  /// Presets all of whose schemes were tried.
  private func presets() throws -> [(name: String, plan: Plan)] {
    try Self.presets.compactMap { name in
      guard let policy = Policy.preset(name), let plan = try planner.plan(of: policy) else { return nil }
      return (name, plan)
    }
  }

  private var front: [Plan] { planner.front(count: 16) }

  // MARK: Text

  func lines(width: Int?) throws -> [String] {
    var chosen = TextTable(["tensor", "stored as", "bits a value"])
    for (unit, way) in plan.choices {
      for (tensor, scheme) in Self.tensors(unit.unit, way) {
        chosen.add([tensor.name, Self.text(tensor, scheme), Decimal.text(try Self.bits(tensor, scheme), digits: 3)])
      }
    }
    var points = TextTable(["front", "bits a parameter", "update rel L2", "update max"])
    for point in front { points.add(row("", point)) }
    for (name, point) in try presets() { points.add(row(name, point)) }
    points.add(row("this plan", plan))
    return chosen.lines(width: width, leading: 2) + [""] + points.lines(width: width, leading: 1) + ["", verdict]
  }

  private func row(_ name: String, _ plan: Plan) -> [String] {
    [
      name, Decimal.text(plan.bitsPerParameter, digits: 3), Decimal.scientific(plan.updateError),
      Decimal.scientific(plan.maxUpdateError),
    ]
  }

  private var verdict: String {
    let bits = Decimal.text(plan.bitsPerParameter, digits: 3)
    let errors = "\(Decimal.scientific(plan.updateError)), of one at most \(Decimal.scientific(plan.maxUpdateError))"
    let file = size.map { ", a file of \(ByteSize.text($0))" } ?? ""
    let how = planner.isWhole ? "" : " (of a sample)"
    return
      "\(plan.choices.count) units, \(bits) bits a parameter\(file), relative L2 error of the update \(errors)\(how)"
  }

  private static func tensors(
    _ unit: PlanUnit, _ way: MeasuredCandidate
  ) -> [(tensor: InputTensor, scheme: Scheme?)] {
    [(unit.first, way.candidate.first), (unit.second, way.candidate.second)].compactMap { tensor, scheme in
      tensor.map { ($0, scheme) }
    }
  }

  private static func text(_ tensor: InputTensor, _ scheme: Scheme?) -> String {
    Describe.encoding(
      scheme.map { .quantized($0) } ?? .lossless(reason: .none), dtype: tensor.dtype, shape: tensor.shape)
  }

  /// Bits a value of codes, scales and custom table; of a lossless tensor those of its dtype.
  private static func bits(_ tensor: InputTensor, _ scheme: Scheme?) throws -> Double {
    guard let scheme else { return Double(tensor.dtype.bitWidth) }
    let layout = try TensorLayout(dtype: tensor.dtype, shape: tensor.shape, scheme: scheme)
    let table = scheme.customTable.map { $0.entries.count * 32 } ?? 0
    return Double(layout.streamByteCount * 8 + table) / Double(layout.elementCount)
  }

  // MARK: JSON

  func document(budget: JSONValue, isMet: Bool) throws -> JSONValue {
    var members = figures(plan)
    members["budget"] = budget
    members["met"] = .bool(isMet)
    members["sampled"] = .bool(!planner.isWhole)
    members["parameters"] = .count(UInt64(plan.parameters))
    members["file_bytes"] = size.map { .count($0) } ?? .null
    members["max_rel_l2"] = .number(plan.relativeL2)
    members["max_abs_error"] = .number(plan.maxAbsError)
    members["tensors"] = .array(
      try plan.choices.flatMap { unit, way in
        try Self.tensors(unit.unit, way).map { tensor, scheme in
          .object([
            "name": .string(tensor.name), "scheme": scheme?.json ?? .null,
            "bits_per_value": .number(try Self.bits(tensor, scheme)),
          ])
        }
      })
    members["front"] = .array(front.map { .object(figures($0)) })
    members["presets"] = .object(
      Dictionary(uniqueKeysWithValues: try presets().map { ($0.name, .object(figures($0.plan))) }))
    return .object(members)
  }

  private func figures(_ plan: Plan) -> [String: JSONValue] {
    [
      "bits_per_parameter": .number(plan.bitsPerParameter), "update_rel_l2": .number(plan.updateError),
      "update_max_abs": .number(plan.maxUpdateError),
    ]
  }
}
