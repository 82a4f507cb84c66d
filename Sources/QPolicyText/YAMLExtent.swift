import CYaml

/// How many keys and values a YAML document has where every alias stands for a copy: 40 lines can have 2^40.
///
/// Counted from the parser's events, before anything is copied or compared.
struct YAMLExtent {
  private var count = 0
  /// The collections that have not ended: their anchors, and what had been counted before them.
  private var open: [(anchor: String?, before: Int)] = []
  private var counts: [String: Int] = [:]

  /// Whether there are more than `limit`; of what is no YAML, before the mistake.
  static func exceeds(_ limit: Int, in text: String) -> Bool {
    var text = text
    var extent = YAMLExtent()
    // Safe: the parser goes before the text that it reads, and each event before the next is parsed.
    return text.withUTF8 { bytes in
      var parser = unsafe yaml_parser_t()
      unsafe yaml_parser_initialize(&parser)
      defer { unsafe yaml_parser_delete(&parser) }
      unsafe yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
      unsafe yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
      while extent.count <= limit {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(&parser, &event) == 1 else { return false }
        defer { unsafe yaml_event_delete(&event) }
        if unsafe event.type == YAML_STREAM_END_EVENT { return false }
        unsafe extent.add(event)
      }
      return true
    }
  }

  private mutating func add(_ event: yaml_event_t) {
    switch unsafe event.type {
    case YAML_SCALAR_EVENT:
      count += 1
      if let anchor = unsafe Self.name(event.data.scalar.anchor) { counts[anchor] = 1 }
    case YAML_ALIAS_EVENT:
      count += unsafe Self.name(event.data.alias.anchor).flatMap { counts[$0] } ?? 1
    case YAML_SEQUENCE_START_EVENT: unsafe begin(event.data.sequence_start.anchor)
    case YAML_MAPPING_START_EVENT: unsafe begin(event.data.mapping_start.anchor)
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
      if let ended = open.popLast(), let anchor = ended.anchor { counts[anchor] = count - ended.before }
    default: break
    }
  }

  private mutating func begin(_ anchor: UnsafeMutablePointer<yaml_char_t>?) {
    unsafe open.append((Self.name(anchor), count))
    count += 1
  }

  private static func name(_ anchor: UnsafeMutablePointer<yaml_char_t>?) -> String? {
    unsafe anchor.map { unsafe String(cString: $0) }
  }
}
