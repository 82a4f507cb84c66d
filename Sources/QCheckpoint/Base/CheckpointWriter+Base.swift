import QCodec

extension CheckpointWriter {
  /// The bytes of a metadata document with what it is to say of the base; nil without a base.
  ///
  /// Throws `invalidArgument` for a base that a salvage made up and for a name that readers would not follow,
  /// `limitExceeded` for one at the end of the longest chain.
  static func document(_ document: JSONValue, _ options: WriterOptions) throws(QCodecError) -> [UInt8]? {
    guard let base = options.base else { return nil }
    guard let digest = base.digest else {
      throw QCodecError(.invalidArgument, "what is left of a damaged checkpoint is no base")
    }
    guard base.chainLength < BaseResolver.maximumChain else {
      throw QCodecError(
        .limitExceeded,
        "the base is the last of \(BaseResolver.maximumChain) that refer to each other; flatten one of them")
    }
    var entry = ["digest": JSONValue.string(digest.description)]
    if let name = options.baseName {
      guard !name.isEmpty, !name.hasPrefix("/"), !name.utf8.contains(0), name.utf8.count <= 4096 else {
        throw QCodecError(.invalidArgument, "the base's name '\(name)' is no relative path")
      }
      entry["name"] = .string(name)
    }
    var members = document.objectValue ?? [:]
    members["base"] = .object(entry)
    return Array(JSONValue.object(members).serialized().utf8)
  }
}
