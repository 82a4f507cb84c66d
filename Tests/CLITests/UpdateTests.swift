import QCheckpoint
import Testing

/// The error of the update: measured by `encode`, told by `inspect`, held against limits by `verify`.
@Suite struct UpdateTests {
  private static let keys: [String: Kind] = [
    "pairs": .integer, "rel_l2": .number, "max_abs": .number, "v_zeroed": .integer, "sign_changes": .integer,
    "eps": .number,
  ]

  private func encoded(_ options: [String] = []) throws -> Workspace {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"] + options)
    return work
  }

  /// The relative L2 and the largest error of the update of a pair, by arithmetic of the test's own.
  private func update(_ pairs: [(before: (Tensor, Tensor), after: (Tensor, Tensor))], eps: Double) -> (Double, Double) {
    func values(_ pair: (Tensor, Tensor)) -> [Double] {
      zip(pair.0.values, pair.1.values).map { m, v in m == 0 && v == 0 ? 0 : Double(m) / (Double(v).squareRoot() + eps)
      }
    }
    var (squares, total, largest) = (0.0, 0.0, 0.0)
    for (before, after) in pairs {
      for (exact, got) in zip(values(before), values(after)) {
        squares += (exact - got) * (exact - got)
        total += exact * exact
        largest = max(largest, (exact - got).magnitude)
      }
    }
    return ((squares / total).squareRoot(), largest)
  }

  @Test(arguments: ["1e-8", "0.001"]) func whatVerifyFindsIsWhatDecodes(eps: String) throws {
    let work = try encoded()
    try work.succeed(["decode", "s.qckpt", "-o", "out"])
    let (before, after) = try (TensorFile(path: Fixture.real), TensorFile(path: work.path("out")))
    let document = try work.succeed(
      ["verify", "s.qckpt", "--against", "in.safetensors", "--eps", eps, "--json"]
    ).json()
    var pairs: [(before: (Tensor, Tensor), after: (Tensor, Tensor))] = []
    for row in try #require(document["tensors"]?.arrayValue) {
      guard let second = row["second_moment"]?.stringValue else {
        #expect(row["update_error"] == .null)
        continue
      }
      let name = try #require(row["name"]?.stringValue)
      #expect(second == name.replacing("exp_avg/", with: "exp_avg_sq/"))
      let pair = try (
        before: (#require(before.tensors[name]), #require(before.tensors[second])),
        after: (#require(after.tensors[name]), #require(after.tensors[second]))
      )
      pairs.append(pair)
      expect(row["update_error"], of: [pair], eps: eps)
    }
    #expect(pairs.count == 5)
    expect(document["update_error"], of: pairs, eps: eps)
  }

  private func expect(
    _ found: JSONValue?, of pairs: [(before: (Tensor, Tensor), after: (Tensor, Tensor))], eps: String
  ) {
    expectMembers(found, Self.keys)
    let (relative, largest) = update(pairs, eps: Double(eps) ?? 0)
    #expect(found?["pairs"] == .integer(Int64(pairs.count)))
    #expect(found?["eps"]?.doubleValue == Double(eps))
    #expect(found?["max_abs"]?.doubleValue == largest)
    // Sums in another order.
    let difference = ((found?["rel_l2"]?.doubleValue ?? .nan) - relative).magnitude
    #expect(difference <= 1e-12 * relative)
    #expect(found?["v_zeroed"] == .integer(0) && found?["sign_changes"] == .integer(0))
  }

  @Test func measuringIsRecordedAndShown() throws {
    let work = try encoded()
    #expect(try work.succeed(["inspect", "s.qckpt", "--json"]).json()["update_error"] == .null)
    let plain = try work.read("s.qckpt")
    for eps in [[], ["--eps", "0.5"]] {
      try work.succeed(["encode", "in.safetensors", "-o", "m.qckpt", "--measure-update"] + eps)
      #expect(try work.read("m.qckpt").count > plain.count)
      let document = try work.succeed(["inspect", "m.qckpt", "--json"]).json()
      let verified = try work.succeed(
        ["verify", "m.qckpt", "--against", "in.safetensors", "--json"] + eps
      ).json()
      // The encoder measures the pairs of the update domain, which are those of 4,096 elements and more.
      var measured = 0
      for row in try #require(verified["tensors"]?.arrayValue) {
        let name = try #require(row["name"]?.stringValue)
        let told = document["tensors"]?.arrayValue?.first { $0["name"]?.stringValue == name }
        guard told?["domain"]?.stringValue == "update" else { continue }
        measured += 1
        #expect(told?["update_error"] == row["update_error"], "\(name)")
        #expect(told?["second_moment"] == row["second_moment"], "\(name)")
      }
      #expect(measured == 3)
      expectMembers(document["update_error"], Self.keys)
      #expect(document["update_error"]?["pairs"] == .integer(3))
      #expect(document["update_error"]?["eps"]?.doubleValue == (eps.isEmpty ? 1e-8 : 0.5))
      let lines = try work.succeed(["inspect", "m.qckpt"]).lines
      #expect(
        lines.contains { $0.hasPrefix("update m/(√v + \(eps.isEmpty ? "1e-08" : "0.5")) of 3 pairs of moments: ") })
    }
    // ε says nothing where nothing is measured.
    try work.succeed(["encode", "in.safetensors", "-o", "e.qckpt", "--eps", "0.5"])
    #expect(try work.read("e.qckpt") == plain)
  }

  @Test func limitsOnTheUpdateAreKept() throws {
    let work = try encoded()
    let verify = ["verify", "s.qckpt", "--against", "in.safetensors"]
    let error = try work.succeed(verify + ["--json"]).json()["update_error"]
    let relative = try #require(error?["rel_l2"]?.doubleValue)
    let largest = try #require(error?["max_abs"]?.doubleValue)
    try work.succeed(verify + ["--max-update-error", "\(relative)", "--max-update-abs", "\(largest)", "--quiet"])
    try work.fail(
      verify + ["--max-update-error", "\(relative.nextDown)", "--quiet"], 1,
      "s.qckpt: 1 violation; the first: the relative L2 error of the update is above the limit, got \(relative), "
        + "bound \(relative.nextDown)")
    try work.fail(
      verify + ["--max-update-abs", "\(largest.nextDown)", "--quiet"], 1,
      "s.qckpt: 1 violation; the first: the largest error of an update is above the limit, got \(largest), "
        + "bound \(largest.nextDown)")
    let both = try work.run(verify + ["--max-update-error", "0", "--max-update-abs", "0", "--json"])
    #expect(both.status == 1)
    let document = try both.json()
    #expect(document["violations"] == .integer(2) && document["ok"] == .bool(false))
    #expect(document["first_violation"]?["tensor"] == .null && document["first_violation"]?["index"] == .null)
    // Limits that hold of what is exact.
    try work.succeed(["encode", "in.safetensors", "-o", "l.qckpt", "--policy", "lossless"])
    try work.succeed(
      ["verify", "l.qckpt", "--against", "in.safetensors", "--max-update-error", "0", "--max-update-abs", "0"])
  }

  @Test func anUpdateWithoutEpsilonMayBeInfinitelyWrong() throws {
    let work = try Workspace()
    let count = 4096
    var v = [Float](repeating: 1, count: count)
    v[7] = 1e-12
    try work.write(
      safetensors([Tensor("exp_avg", [Float](repeating: 0.5, count: count)), Tensor("exp_avg_sq", v)]), "in")
    try work.succeed(["encode", "in", "-o", "8", "--policy", "paper8", "--measure-update", "--eps", "0"])
    let document = try work.succeed(["verify", "8", "--against", "in", "--eps", "0", "--json"]).json()
    #expect(document["update_error"]?["v_zeroed"] == .integer(1))
    #expect(document["update_error"]?["max_abs"] == .null)
    let refused = try work.run(["verify", "8", "--against", "in", "--eps", "0", "--max-update-abs", "1e300", "--json"])
    #expect(refused.status == 1)
    try work.succeed(["encode", "in", "-o", "a", "--measure-update", "--eps", "0"])
    try work.succeed(["verify", "a", "--against", "in", "--eps", "0", "--max-update-abs", "1", "--quiet"])
  }

  @Test func optionsThatCannotBe() throws {
    let work = try encoded()
    for eps in ["-1", "nan", "inf"] {
      try work.fail(
        ["verify", "s.qckpt", "--eps=\(eps)"], 2, "--eps is to be 0 or more; see 'qcodec verify --help'")
      try work.fail(
        ["encode", "in.safetensors", "-o", "x", "--eps=\(eps)"], 2,
        "--eps is to be 0 or more; see 'qcodec encode --help'")
    }
    for limit in ["--max-update-error", "--max-update-abs"] {
      try work.fail(
        ["verify", "s.qckpt", limit, "1"], 2,
        "a limit on the update takes --against; see 'qcodec verify --help'")
      try work.fail(
        ["verify", "s.qckpt", "--against", "in.safetensors", "\(limit)=-1"], 2,
        "a limit is to be 0 or more; see 'qcodec verify --help'")
    }
  }
}
