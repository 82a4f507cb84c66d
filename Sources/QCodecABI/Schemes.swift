// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCheckpoint
import QCodec

/// A scheme across the ABI.
final class SchemeBox {
  var scheme: Scheme

  init(_ scheme: Scheme) { self.scheme = scheme }
}

/// The scheme of a handle.
func scheme(_ handle: OpaquePointer?) throws(QCodecError) -> Scheme {
  try unsafe object(handle, SchemeBox.self, "scheme").scheme
}

/// A member of an enumeration by its number; throws `invalidArgument`.
private func member<Value: RawRepresentable>(
  _ number: Int32, _ name: String
) throws(QCodecError) -> Value where Value.RawValue == UInt8 {
  guard let value = UInt8(exactly: number).flatMap(Value.init(rawValue:)) else {
    throw invalid("\(number) is no \(name)")
  }
  return value
}

private func scaling(
  _ number: Int32, block: UInt32, map: Scheme.Map, bits: Int
) throws(QCodecError) -> Scheme.Scaling {
  if number == 2 { return .block(block == 0 ? Scheme.defaultBlock(map: map, bits: bits) : Int(block)) }
  guard block == 0 else { throw invalid("a block belongs to block scaling alone") }
  switch number {
  case 1: return .tensor
  case 3: return .row
  case 4: return .column
  case 5: return .rank1
  default: throw invalid("\(number) is no scaling")
  }
}

/// A scheme that some tensor could have.
private func checked(_ scheme: Scheme) throws(QCodecError) -> SchemeBox {
  _ = try TensorLayout(dtype: .f32, shape: [64, 64], scheme: scheme)
  return SchemeBox(scheme)
}

@c @implementation public func qcodec_scheme_create(
  _ map: Int32, _ bits: Int32, _ isSigned: Int32, _ scalingKind: Int32, _ block: UInt32, _ domain: Int32,
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let map: Scheme.Map = try member(map, "map")
      guard map != .custom else { throw invalid("a custom map is made from its table") }
      return try checked(
        Scheme(
          map: map, bits: Int(bits), signed: isSigned != 0,
          scaling: try scaling(scalingKind, block: block, map: map, bits: Int(bits)),
          domain: try member(domain, "domain")))
    }
  }
}

@c @implementation public func qcodec_scheme_create_custom(
  _ table: UnsafePointer<Float>?, _ count: Int, _ isSigned: Int32, _ isImport: Int32, _ scalingKind: Int32,
  _ block: UInt32, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let bits = try MapTable.width(ofEntries: count)
      let entries = try unsafe Array(elements(table, count, "table"))
      let signed = isSigned != 0
      // As policies have it: the extreme has an entry of its own, whatever its sign.
      let rule: Scheme.ScaleRule = isImport != 0 ? .unknown : signed && entries[0] != -1 ? .signedExtreme : .absmax
      let map = try MapTable(custom: entries, signed: signed, isImport: isImport != 0, scaleRule: rule)
      return try checked(
        Scheme(
          map: .custom, bits: bits, signed: signed,
          scaling: try scaling(scalingKind, block: block, map: .custom, bits: bits),
          rounding: isImport != 0 ? .unknown : .nearest, customTable: map))
    }
  }
}

@c @implementation public func qcodec_scheme_parse(
  _ json: UnsafePointer<CChar>?, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      SchemeBox(try Scheme(json: JSONValue(parsing: unsafe text(json, "json"))))
    }
  }
}

@c @implementation public func qcodec_scheme_set_rounding(
  _ handle: OpaquePointer?, _ rounding: Int32, _ seed: UInt64, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe object(handle, SchemeBox.self, "scheme")
    var changed = box.scheme
    changed.rounding = try member(rounding, "rounding")
    changed.seed = seed
    guard changed.rounding == .unknown || changed.customTable?.isImport != true else {
      throw QCodecError(.unsupportedScheme, "nothing is known of how an import's codes were chosen")
    }
    box.scheme = try checked(changed).scheme
  }
}

@c @implementation public func qcodec_scheme_set_scale_rule(
  _ handle: OpaquePointer?, _ rule: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe object(handle, SchemeBox.self, "scheme")
    var changed = box.scheme
    changed.scaleRule = try member(rule, "scale rule")
    box.scheme = try checked(changed).scheme
  }
}

@c @implementation public func qcodec_scheme_text(
  _ handle: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in try unsafe give(scheme(handle).json.serialized(), json) }
}

@c @implementation public func qcodec_scheme_table(
  _ handle: OpaquePointer?, _ table: UnsafeMutablePointer<Float>?, _ capacity: Int
) -> Int {
  guard let scheme = try? unsafe scheme(handle),
    let entries = try? TensorLayout(dtype: .f32, shape: [64, 64], scheme: scheme).table?.entries
  else { return 0 }
  if let table = unsafe table, UInt(bitPattern: capacity) >= entries.count {
    unsafe table.update(from: entries, count: entries.count)
  }
  return entries.count
}

@c @implementation public func qcodec_scheme_free(_ scheme: OpaquePointer?) { unsafe release(scheme, SchemeBox.self) }

// MARK: Policies

/// A policy across the ABI.
final class PolicyBox {
  let policy: Policy

  init(_ policy: Policy) { self.policy = policy }
}

@c @implementation public func qcodec_policy_preset(
  _ name: UnsafePointer<CChar>?, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let name = unsafe name == nil ? Policy.defaultName : try text(name, "name")
      guard let policy = Policy.preset(name) else {
        throw QCodecError(.invalidPolicy, Policy.complaint(about: name))
      }
      return PolicyBox(policy)
    }
  }
}

@c @implementation public func qcodec_policy_parse(
  _ json: UnsafePointer<CChar>?, _ length: Int, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      PolicyBox(try Policy(json: JSONValue(parsing: unsafe textBytes(json, length, "json"))))
    }
  }
}

@c @implementation public func qcodec_policy_text(
  _ policy: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(object(policy, PolicyBox.self, "policy").policy.json.serialized(), json)
  }
}

@c @implementation public func qcodec_policy_free(_ policy: OpaquePointer?) { unsafe release(policy, PolicyBox.self) }
