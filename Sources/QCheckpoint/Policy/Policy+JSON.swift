import QCodec

extension Policy {
  /// Reads a policy document; throws `invalidPolicy` with the place of what is wrong, unknown members included.
  ///
  /// ```json
  /// {"name": "mine", "min_elements": 4096, "rules": [
  ///   {"match": {"name": "*embed*"}, "action": "lossless"},
  ///   {"match": {"role": "second_moment", "dtype": ["F32"], "min_dims": 2}, "action": "quantize",
  ///    "negative": "lossless", "scheme": {"map": "linear-nozero", "bits": 4, "signed": false, "scaling": "rank1"}},
  ///   {"match": {"role": "parameter"}, "action": "drop"}]}
  /// ```
  ///
  /// - `name`: the policy's name, `custom` if absent.
  /// - `min_elements`: smaller tensors are lossless whatever their rule's scheme; 0 if absent (presets: 4,096).
  /// - `extends`: a preset whose rules come after this policy's own, and whose `min_elements` holds if none is given.
  /// - `keep_lossless`, `drop`: globs for whole names, one or an array, that come before all rules: embeddings for instance.
  /// - `rules` (required without `extends`), in order; the first that matches decides, and a tensor that none matches is lossless:
  ///   - `match`: `name` (a glob for the whole name), `role`, `dtype` (one or an array), `min_dims`, `max_dims`,
  ///     `min_elements`, `max_elements`, bounds included, and `embedding` (true or false: whether the name is that of one).
  ///     All that are given must hold; without `match` all tensors do.
  ///   - `action` (required): `quantize`, `lossless` or `drop`.
  ///   - `scheme` (for `quantize`, required there): as `Scheme.init(json:place:)` reads it.
  ///   - `fallback` (for `quantize` in the update domain): the scheme of the value domain for first moments that cannot
  ///     be in it; the signed dynamic map of the same width if absent.
  ///   - `step` (for `quantize`): how far apart codes stand, instead of the extremes of blocks: `{"absolute": x}` or
  ///     `{"rms": x}` (of what is coded) for the linear map, `{"octaves": x}` for `log`.
  ///   - `compression`: `none`, `lz4` or `zstd` for these tensors; that of the whole checkpoint if absent.
  ///   - `negative` (for `quantize`): what becomes of a negative element under an unsigned map, `error`, the default, or
  ///     `lossless`.
  public init(json: JSONValue) throws(QCodecError) {
    var fields = try JSONFields(json, place: "policy", code: .invalidPolicy)
    let name = try fields.string("name") ?? "custom"
    let base = try Self.base(&fields)
    let minElements = try fields.count("min_elements") ?? base?.minElements ?? 0
    var rules = try Self.globRules(&fields, ["keep_lossless", "keep-lossless"], .lossless)
    rules += try Self.globRules(&fields, ["drop"], .drop)
    var elements: [JSONValue] = []
    if let value = fields.value("rules") {
      guard let array = value.arrayValue else { throw fields.refuse("rules", "is to be an array") }
      elements = array
    } else if base == nil {
      throw fields.refuse("rules", "is missing, and so is extends")
    }
    try fields.finish()
    for (index, element) in elements.enumerated() {
      rules.append(try Rule(json: element, place: "policy.rules[\(index)]"))
    }
    self.init(name: name, rules: rules + (base?.rules ?? []), minElements: minElements)
  }

  /// The preset that the policy extends.
  private static func base(_ fields: inout JSONFields) throws(QCodecError) -> Policy? {
    guard let name = try fields.string("extends") else { return nil }
    guard let preset = preset(name) else {
      throw fields.refuse("extends", "is \"\(name)\", not one of \(presetNames.joined(separator: ", "))")
    }
    return preset
  }

  /// Rules of one action for the globs under any of the keys.
  private static func globRules(
    _ fields: inout JSONFields, _ keys: [String], _ action: Action
  ) throws(QCodecError) -> [Rule] {
    var rules: [Rule] = []
    for key in keys {
      for pattern in try fields.strings(key) ?? [] {
        do throws(QCodecError) {
          rules.append(Rule(match: Match(name: try Glob(pattern)), action: action))
        } catch {
          throw fields.refuse(key, error.message)
        }
      }
    }
    return rules
  }

  /// The policy as a document that reads back equal; what a checkpoint stores.
  public var json: JSONValue {
    .object([
      "name": .string(name), "min_elements": .integer(Int64(clamping: minElements)),
      "rules": .array(rules.map(\.json)),
    ])
  }
}

extension Policy.Rule {
  fileprivate init(json: JSONValue, place: String) throws(QCodecError) {
    var fields = try JSONFields(json, place: place, code: .invalidPolicy)
    let match = try fields.value("match").map { value throws(QCodecError) in
      try Policy.Match(json: value, place: "\(place).match")
    }
    let scheme = try fields.value("scheme").map { value throws(QCodecError) in
      try Scheme(json: value, place: "\(place).scheme")
    }
    let fallback = try fields.value("fallback").map { value throws(QCodecError) in
      try Scheme(json: value, place: "\(place).fallback")
    }
    let step = try fields.value("step").map { value throws(QCodecError) in
      try QuantizationStep(json: value, place: "\(place).step")
    }
    let negative = try fields.name("negative", of: ["error", "lossless"], \.self)
    let compression = try fields.name("compression", of: Array(Compression.allCases), \.name)
    let action: Policy.Action
    switch try fields.name("action", of: ["quantize", "lossless", "drop"], \.self) {
    case "quantize":
      guard let scheme else { throw fields.refuse("scheme", "is missing") }
      action = .quantize(scheme)
    case "lossless": action = .lossless
    case "drop": action = .drop
    default: throw fields.refuse("action", "is missing")
    }
    if action == .lossless || action == .drop, scheme != nil || negative != nil || fallback != nil || step != nil {
      let stranger = scheme != nil ? "scheme" : negative != nil ? "negative" : fallback != nil ? "fallback" : "step"
      throw fields.refuse(stranger, "belongs to the action quantize alone")
    }
    if let fallback, fallback.domain == .update || scheme?.domain != .update {
      throw fields.refuse("fallback", "is a scheme of the value domain for one of the update domain")
    }
    if let step, let scheme {
      do throws(QCodecError) { try step.check(scheme) } catch {
        throw fields.refuse("step", "does not serve: \(error.message)")
      }
    }
    if action == .drop, compression != nil { throw fields.refuse("compression", "does not belong to the action drop") }
    try fields.finish()
    self.init(
      match: match ?? Policy.Match(), action: action, negativeFallsBack: negative == "lossless", fallback: fallback,
      compression: compression, step: step)
  }

  fileprivate var json: JSONValue {
    var members: [String: JSONValue] = ["match": match.json]
    switch action {
    case .quantize(let scheme):
      members["action"] = .string("quantize")
      members["scheme"] = scheme.json
      members["negative"] = .string(negativeFallsBack ? "lossless" : "error")
      if let fallback { members["fallback"] = fallback.json }
      if let step { members["step"] = step.json }
    case .lossless: members["action"] = .string("lossless")
    case .drop: members["action"] = .string("drop")
    }
    if let compression { members["compression"] = .string(compression.name) }
    return .object(members)
  }
}

extension Policy.Match {
  fileprivate init(json: JSONValue, place: String) throws(QCodecError) {
    var fields = try JSONFields(json, place: place, code: .invalidPolicy)
    self.init()
    if let pattern = try fields.string("name") {
      do throws(QCodecError) { name = try Glob(pattern) } catch { throw fields.refuse("name", error.message) }
    }
    if let names = try fields.strings("role") {
      var found: Set<Role> = []
      for name in names {
        guard let role = Role(name: name) else { throw fields.refuse("role", "is \"\(name)\", which is no role") }
        found.insert(role)
      }
      roles = found
    }
    if let names = try fields.strings("dtype") {
      var found: Set<DType> = []
      for name in names {
        guard let dtype = DType(name: name) else { throw fields.refuse("dtype", "is \"\(name)\", which is no dtype") }
        found.insert(dtype)
      }
      dtypes = found
    }
    minDims = try fields.count("min_dims").map { Int(clamping: $0) }
    maxDims = try fields.count("max_dims").map { Int(clamping: $0) }
    minElements = try fields.count("min_elements")
    maxElements = try fields.count("max_elements")
    isEmbedding = try fields.bool("embedding")
    guard minDims ?? 0 <= maxDims ?? .max else { throw fields.refuse("min_dims", "is above max_dims") }
    guard minElements ?? 0 <= maxElements ?? .max else { throw fields.refuse("min_elements", "is above max_elements") }
    try fields.finish()
  }

  fileprivate var json: JSONValue {
    var members: [String: JSONValue] = [:]
    if let name { members["name"] = .string(name.pattern) }
    if let roles { members["role"] = .array(roles.map(\.name).sorted().map { .string($0) }) }
    if let dtypes { members["dtype"] = .array(dtypes.map(\.name).sorted().map { .string($0) }) }
    if let minDims { members["min_dims"] = .integer(Int64(minDims)) }
    if let maxDims { members["max_dims"] = .integer(Int64(maxDims)) }
    if let minElements { members["min_elements"] = .integer(Int64(clamping: minElements)) }
    if let maxElements { members["max_elements"] = .integer(Int64(clamping: maxElements)) }
    if let isEmbedding { members["embedding"] = .bool(isEmbedding) }
    return .object(members)
  }
}
