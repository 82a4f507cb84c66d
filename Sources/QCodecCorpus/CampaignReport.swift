import QCheckpoint

/// Counts of a campaign, and every case that shows a defect of the library.
struct CampaignReport: Sendable {
  struct Count: Sendable {
    var cases = 0
    var detected = 0
    var detectedByReading = 0
    var harmless = 0
    var missed = 0
    var withDirectory = 0
    var undamaged = 0
    var recovered = 0
  }

  struct Defect: Sendable {
    let number: UInt64
    let path: String
    let mutation: Mutation
    let what: String
  }

  private(set) var total = Count()
  private(set) var byMutation: [Mutation: Count] = [:]
  private(set) var defects: [Defect] = []

  var cases: Int { total.cases }

  /// Whether nothing was missed and salvage gave back all that it should.
  var ok: Bool { defects.isEmpty }

  mutating func add(_ result: CaseResult, path: String) {
    total.add(result)
    byMutation[result.mutation, default: Count()].add(result)
    var wrong = result.failure
    if result.outcome == .missed { wrong = "accepted with something different" }
    if let wrong { defects.append(Defect(number: result.number, path: path, mutation: result.mutation, what: wrong)) }
  }

  /// The report with its defects in the order of cases.
  var sorted: CampaignReport {
    var copy = self
    copy.defects.sort { $0.number < $1.number }
    return copy
  }

  /// A line for each way to damage a file, one for all, and one for each defect.
  var lines: [String] {
    let rows = Mutation.allCases.compactMap { mutation in byMutation[mutation].map { $0.line(mutation.rawValue) } }
    return rows + [total.line("all")]
      + defects.map { "case \($0.number), \($0.mutation.rawValue) of \($0.path): \($0.what)" }
  }

  /// The report as `--json` prints it.
  func json(seed: UInt64) -> JSONValue {
    var members = total.members
    members["ok"] = .bool(ok)
    members["seed"] = .string(String(seed))
    members["mutations"] = .object(
      Dictionary(uniqueKeysWithValues: byMutation.map { ($0.rawValue, .object($1.members)) }))
    members["defects"] = .array(
      defects.map {
        .object([
          "case": .count($0.number), "file": .string($0.path), "mutation": .string($0.mutation.rawValue),
          "what": .string($0.what),
        ])
      })
    return .object(members)
  }
}

extension CampaignReport.Count {
  mutating func add(_ result: CaseResult) {
    cases += 1
    switch result.outcome {
    case .detected: detected += 1
    case .harmless: harmless += 1
    case .missed: missed += 1
    }
    if result.isDetectedByReading { detectedByReading += 1 }
    if result.hasDirectory { withDirectory += 1 }
    undamaged += result.undamaged
    recovered += result.recovered
  }

  fileprivate func line(_ name: String) -> String {
    let pad = String(repeating: " ", count: max(0, 26 - name.count))
    return
      "\(name)\(pad) \(cases) cases: \(detected) detected (\(detectedByReading) without verify), \(harmless) harmless, "
      + "\(missed) missed; \(recovered) of \(undamaged) undamaged tensors recovered"
  }

  fileprivate var members: [String: JSONValue] {
    [
      "cases": .count(cases), "detected": .count(detected), "detected_by_reading": .count(detectedByReading),
      "harmless": .count(harmless), "missed": .count(missed), "with_directory": .count(withDirectory),
      "undamaged_tensors": .count(undamaged), "recovered_tensors": .count(recovered),
    ]
  }
}
