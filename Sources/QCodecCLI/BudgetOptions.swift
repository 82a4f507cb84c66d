import ArgumentParser
import QCheckpoint
import QPlanner

/// What `plan` is to keep: exactly one of these.
struct BudgetOptions: ParsableArguments {
  @Option(help: "Bits a parameter that moments may take together, scales included: adam8 takes 16.25, adam4 8.5.")
  var targetBits: Double?

  @Option(help: "Bytes of the file that encode writes, such as 12MiB.")
  var targetSize: ByteCount?

  @Option(
    help: "The relative L2 error of the update m/(√v + ε), over all pairs of moments; moments alone keep it each.")
  var maxUpdateError: Double?

  @Option(name: .customLong("max-rel-l2"), help: "The relative L2 error of each tensor.")
  var maxRelativeL2: Double?

  @Option(name: .customLong("max-abs-error"), help: "The absolute error of each element.")
  var maxAbsolute: Double?

  /// nil for a size, which takes several plans.
  private var direct: Budget? {
    if let targetBits { return .bitsPerParameter(targetBits) }
    if let maxUpdateError { return .updateError(maxUpdateError) }
    if let maxRelativeL2 { return .relativeL2(maxRelativeL2) }
    return maxAbsolute.map { .absoluteError($0) }
  }

  private var values: [(name: String, value: Double)] {
    let given: [(String, Double?)] = [
      ("target-bits", targetBits), ("target-size", targetSize.map { Double($0.bytes) }),
      ("max-update-error", maxUpdateError), ("max-rel-l2", maxRelativeL2), ("max-abs-error", maxAbsolute),
    ]
    return given.compactMap { name, value in value.map { (name, $0) } }
  }

  func validate() throws {
    guard values.count == 1 else {
      throw ValidationError(
        "one budget is wanted: --target-bits, --target-size, --max-update-error, --max-rel-l2 or --max-abs-error")
    }
    for (name, value) in values where !(value >= 0 && value.isFinite) {
      throw ValidationError("--\(name) is to be 0 or more")
    }
  }

  var isOfEach: Bool { direct?.isOfEach ?? false }

  var countsStoredBytes: Bool { targetSize != nil }

  /// As people read it.
  var text: String {
    let (name, value) = values[0]
    if let targetSize { return "--target-size \(targetSize.bytes) B" }
    return "--\(name) \(value)"
  }

  var json: JSONValue {
    let (name, value) = values[0]
    return .object(["kind": .string(name.replacing("-", with: "_")), "value": .number(value)])
  }

  /// A plan that keeps the budget, or the one that comes nearest and what it has.
  enum Outcome {
    case met(Plan, UInt64?)
    case missed(Plan, UInt64?, String)
  }

  /// The outcome; `size` encodes a plan and gives the bytes of its file.
  func outcome(_ planner: Planner, size: (Plan) throws -> UInt64) throws -> Outcome {
    guard let direct else { return try fitted(planner, into: targetSize?.bytes ?? 0, size) }
    switch planner.plan(direct) {
    case .met(let plan): return .met(plan, nil)
    case .missed(let plan): return .missed(plan, nil, "the nearest has \(Self.figure(of: plan, direct))")
    }
  }

  private static func figure(of plan: Plan, _ budget: Budget) -> String {
    switch budget {
    case .bitsPerParameter: "\(Decimal.text(plan.bitsPerParameter, digits: 3)) bits a parameter"
    case .storedBits: ByteSize.text(UInt64(plan.storedBits / 8))
    case .updateError: "an update error of \(Decimal.scientific(plan.updateError))"
    case .relativeL2: "a tensor with \(Decimal.scientific(plan.relativeL2))"
    case .absoluteError: "an element with \(Decimal.scientific(plan.maxAbsError))"
    }
  }

  /// Encodes plans until a file is as large as it may be. What a file has beside moments, and what a sample was wrong by,
  /// is known only then.
  private func fitted(
    _ planner: Planner, into limit: UInt64, _ size: (Plan) throws -> UInt64
  ) throws -> Outcome {
    var bits = Double(limit) * 8
    var best: (plan: Plan, size: UInt64)?
    var smallest: (plan: Plan, size: UInt64)?
    for _ in 0..<8 {
      let plan: Plan
      switch planner.plan(.storedBits(bits)) {
      case .met(let found), .missed(let found): plan = found
      }
      let bytes = try size(plan)
      if bytes <= limit, bytes >= best?.size ?? 0 { best = (plan, bytes) }
      if bytes < smallest?.size ?? .max { smallest = (plan, bytes) }
      // Near enough: another plan would hardly be another.
      if bytes <= limit, Double(limit - bytes) < 0.001 * Double(limit) { break }
      let next = plan.storedBits + (Double(limit) - Double(bytes)) * 8
      if next == bits { break }
      bits = next
    }
    if let best { return .met(best.plan, best.size) }
    guard let smallest else { preconditionFailure("no plan was tried") }
    return .missed(
      smallest.plan, smallest.size, "the smallest file has \(ByteSize.text(smallest.size)), \(smallest.size) B")
  }
}

/// A number of bytes, with a unit of 1000 (kB, MB, GB) or 1024 (KiB, MiB, GiB) or none.
struct ByteCount: ExpressibleByArgument {
  let bytes: UInt64

  private static let units: [(String, Double)] = [
    ("KiB", 0x1p10), ("MiB", 0x1p20), ("GiB", 0x1p30), ("TiB", 0x1p40), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9),
    ("TB", 1e12),
    ("B", 1), ("", 1),
  ]

  init?(argument: String) {
    guard let (unit, factor) = Self.units.first(where: { argument.hasSuffix($0.0) }),
      let number = Double(argument.dropLast(unit.count)), number >= 0, number * factor < 0x1p62
    else { return nil }
    bytes = UInt64(number * factor)
  }
}
