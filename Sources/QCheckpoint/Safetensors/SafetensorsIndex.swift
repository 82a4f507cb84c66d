import QCodec

/// A `model.safetensors.index.json`: the shards that together hold one set of tensors, each tensor in one of them.
public struct SafetensorsIndex: Sendable {
  /// The shards in the order of their names' bytes.
  public let shards: [(name: String, file: SafetensorsFile)]
  /// The shards' `__metadata__` and the index's `metadata`, whose values other than strings stand as JSON text; a key
  /// to which shards give different values is named `shard/key`.
  public let metadata: [String: String]

  /// Whether a document is such an index.
  static func describes(_ document: JSONValue) -> Bool { document["weight_map"] != nil }

  /// Opens the shards, which lie in `folder` (empty, or ending in a slash), and checks them against the index.
  ///
  /// Throws `io`, and `invalidSafetensors` for shards elsewhere, for a tensor that its shard lacks, that two shards
  /// hold or that the index does not list, and for each defect of a shard.
  public init(document: JSONValue, folder: String) throws(QCodecError) {
    var fields = try JSONFields(document, place: "the index", code: .invalidSafetensors)
    let own = try fields.value("metadata").map(Self.texts) ?? [:]
    guard case .object(let map)? = fields.value("weight_map") else {
      throw fields.refuse("weight_map", "is to be an object")
    }
    let wanted = try Self.shards(of: map)
    var shards: [(name: String, file: SafetensorsFile)] = []
    for name in wanted.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
      shards.append((name, try Self.open(name, folder: folder)))
    }
    try Self.check(shards, against: wanted)
    self.shards = shards
    metadata = Self.merged(own, shards)
  }

  /// The names of the tensors of each shard, as bytes.
  private static func shards(of map: [String: JSONValue]) throws(QCodecError) -> [String: Set<[UInt8]>] {
    var result: [String: Set<[UInt8]>] = [:]
    for (tensor, value) in map.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
      guard let shard = value.stringValue else {
        throw QCodecError(.invalidSafetensors, "the index names no shard but \(value.kindName)", tensor: tensor)
      }
      // Shards lie beside the index: what leads elsewhere is not followed.
      let isPlain = !shard.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") || $0 == 0 }
      guard isPlain, !["", ".", ".."].contains(shard) else {
        throw QCodecError(
          .invalidSafetensors, "the shard '\(shard)' is no plain file name beside the index", tensor: tensor)
      }
      result[shard, default: []].insert(Array(tensor.utf8))
    }
    return result
  }

  private static func open(_ name: String, folder: String) throws(QCodecError) -> SafetensorsFile {
    do throws(QCodecError) {
      return try SafetensorsFile(path: folder + name)
    } catch {
      var located = error
      located.message = "shard '\(name)': \(error.message)"
      throw located
    }
  }

  private static func check(
    _ shards: [(name: String, file: SafetensorsFile)], against wanted: [String: Set<[UInt8]>]
  ) throws(QCodecError) {
    var holders: [[UInt8]: String] = [:]
    for (shard, file) in shards {
      for entry in file.entries {
        if let other = holders.updateValue(shard, forKey: Array(entry.name.utf8)) {
          throw QCodecError(
            .invalidSafetensors, "the shards '\(other)' and '\(shard)' both hold the tensor", tensor: entry.name)
        }
      }
    }
    for (shard, names) in wanted.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
      let missing = names.filter { holders[$0] != shard }
      if let name = missing.min(by: { $0.lexicographicallyPrecedes($1) }) {
        throw QCodecError(
          .invalidSafetensors, "the shard '\(shard)' lacks the tensor that the index places in it",
          tensor: String(decoding: name, as: UTF8.self))
      }
    }
    for (shard, file) in shards {
      for entry in file.entries where wanted[shard]?.contains(Array(entry.name.utf8)) != true {
        throw QCodecError(
          .invalidSafetensors, "the shard '\(shard)' holds a tensor that the index does not list", tensor: entry.name)
      }
    }
  }

  private static func texts(_ value: JSONValue) throws(QCodecError) -> [String: String] {
    guard case .object(let members) = value else {
      throw QCodecError(.invalidSafetensors, "the index's metadata is to be an object, not \(value.kindName)")
    }
    return members.mapValues { $0.stringValue ?? $0.serialized() }
  }

  private static func merged(
    _ own: [String: String], _ shards: [(name: String, file: SafetensorsFile)]
  ) -> [String: String] {
    var result = own
    var values: [String: Set<String>] = own.mapValues { [$0] }
    for (_, file) in shards { for (key, value) in file.metadata { values[key, default: []].insert(value) } }
    for (shard, file) in shards {
      for (key, value) in file.metadata { result[values[key]?.count == 1 ? key : "\(shard)/\(key)"] = value }
    }
    return result
  }
}
