import QCodec

extension Scheme {
  /// Reads a scheme; throws `invalidPolicy` with the member's place.
  ///
  /// - `map` (required): `dynamic`, `linear`, `linear-nozero`, `dynamic-nozero`, `normal`, `cubic`, `log`, `custom`.
  /// - `bits` (required): 2, 3, 4, 5, 6 or 8.
  /// - `signed`: true unless absent from a map that is unsigned only.
  /// - `scaling`: `block` (the default), `tensor`, `row`, `column`, `rank1`.
  /// - `block`: the size of a block, 256 for 8 bits and 128 for fewer if absent, twice as much for `log`.
  /// - `rounding`: `nearest`, `nearest-keep-nonzero` (the default for the unsigned dynamic map, `nearest` for others),
  ///   `stochastic`.
  /// - `seed`: of stochastic rounding, 0 if absent; a string of digits from 2^63 on.
  /// - `scale_rule`: `signed-extreme` or `absmax`, the map's own if absent.
  /// - `domain`: `value` (the default) or `update`, for first moments with a partner.
  /// - `table`: the 2^bits entries of a custom map.
  public init(json: JSONValue, place: String = "scheme") throws(QCodecError) {
    var fields = try JSONFields(json, place: place, code: .invalidPolicy)
    guard let map = try fields.name("map", of: Map.allCases, \.name) else { throw fields.refuse("map", "is missing") }
    guard let bits = try fields.count("bits"), Self.widths.contains(where: { $0 == bits }) else {
      throw fields.refuse("bits", "is to be 2, 3, 4, 5, 6 or 8")
    }
    let signed = try fields.bool("signed") ?? (map != .dynamicNoZero && map != .log)
    let scaling = try Self.scaling(&fields, map: map, bits: Int(bits))
    let domain = try fields.name("domain", of: [Domain.value, .update], \.name) ?? .value
    let roundings = [Rounding.nearest, .nearestKeepNonzero, .stochastic]
    let rounding =
      try fields.name("rounding", of: roundings, \.name)
      ?? (map == .dynamic && !signed ? .nearestKeepNonzero : .nearest)
    let seed = try Self.seed(&fields)
    let rule = try fields.name("scale_rule", of: [ScaleRule.signedExtreme, .absmax], \.name)
    let table = try Self.table(&fields, map: map, signed: signed, rule: rule)
    try fields.finish()
    self.init(
      map: map, bits: Int(bits), signed: signed, scaling: scaling, domain: domain, rounding: rounding, seed: seed,
      scaleRule: rule, customTable: table)
    try check(place: place)
  }

  /// What no tensor could have is refused with the policy, not with the first tensor.
  private func check(place: String) throws(QCodecError) {
    do throws(QCodecError) {
      _ = try TensorLayout(dtype: .f32, shape: [64, 64], scheme: self)
    } catch {
      throw QCodecError(.invalidPolicy, "\(place): \(error.message)")
    }
  }

  /// An integer, or in quotes where it is beyond those of JSON, which end at 2^63 − 1 here.
  private static func seed(_ fields: inout JSONFields) throws(QCodecError) -> UInt64 {
    guard let text = fields.value("seed")?.stringValue else { return try fields.count("seed") ?? 0 }
    guard let seed = UInt64(text) else { throw fields.refuse("seed", "is to be an integer of 0 to 2^64 − 1") }
    return seed
  }

  private static func scaling(_ fields: inout JSONFields, map: Map, bits: Int) throws(QCodecError) -> Scaling {
    let kinds = [Scaling.block(defaultBlock(map: map, bits: bits)), .tensor, .row, .column, .rank1]
    let scaling = try fields.name("scaling", of: kinds, \.name) ?? kinds[0]
    guard let size = try fields.count("block") else { return scaling }
    guard case .block = scaling else { throw fields.refuse("block", "belongs to block scaling alone") }
    return .block(Int(size))
  }

  private static func table(
    _ fields: inout JSONFields, map: Map, signed: Bool, rule: ScaleRule?
  ) throws(QCodecError) -> MapTable? {
    guard let value = fields.value("table") else {
      if map == .custom { throw fields.refuse("table", "is missing") }
      return nil
    }
    guard map == .custom, case .array(let elements) = value else {
      throw fields.refuse("table", "is an array that belongs to a custom map")
    }
    var entries: [Float] = []
    for element in elements {
      guard let number = element.doubleValue else { throw fields.refuse("table", "is to hold numbers alone") }
      entries.append(Float(number))
    }
    do throws(QCodecError) {
      let own: ScaleRule = signed && entries.first != -1 ? .signedExtreme : .absmax
      return try MapTable(custom: entries, signed: signed, scaleRule: rule ?? own)
    } catch {
      throw fields.refuse("table", "does not serve: \(error.message)")
    }
  }

  /// The scheme as a policy document holds it, every member stated.
  public var json: JSONValue {
    var members: [String: JSONValue] = [
      "map": .string(map.name), "bits": .integer(Int64(bits)), "signed": .bool(signed),
      "scaling": .string(scaling.name), "domain": .string(domain.name), "rounding": .string(rounding.name),
      "scale_rule": .string(scaleRule.name),
    ]
    if case .block(let size) = scaling { members["block"] = .integer(Int64(size)) }
    if rounding == .stochastic { members["seed"] = Int64(exactly: seed).map { .integer($0) } ?? .string(String(seed)) }
    if let customTable { members["table"] = .array(customTable.entries.map { .number(Double($0)) }) }
    return .object(members)
  }
}
