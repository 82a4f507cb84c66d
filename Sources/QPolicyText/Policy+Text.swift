import QCheckpoint
import QCodec

extension Policy {
  /// The greatest length of a policy's text, in bytes.
  public static let maximumTextLength = 16 << 20

  /// A policy from the text of a JSON or YAML file, told apart by content.
  ///
  /// Throws `invalidPolicy`, or what a JSON document throws, with the line of the mistake.
  public init(text bytes: [UInt8]) throws(QCodecError) {
    guard bytes.count <= Self.maximumTextLength else {
      throw QCodecError(.invalidPolicy, "a policy of more than \(Self.maximumTextLength >> 20) MiB")
    }
    let isJSON = bytes.first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 } == UInt8(ascii: "{")
    self = try isJSON ? Self.json(bytes) : Self.yaml(bytes)
  }

  private static func json(_ bytes: [UInt8]) throws(QCodecError) -> Policy {
    let document: JSONValue
    do throws(QCodecError) { document = try JSONValue(parsing: bytes) } catch {
      throw error.on(place(of: Int(error.offset ?? 0), in: bytes))
    }
    do throws(QCodecError) { return try Policy(json: document) } catch {
      // JSON is YAML but for rarities; where those occur no line is named.
      guard let lines = try? PolicyDocument(yaml: String(decoding: bytes, as: UTF8.self)) else { throw error }
      throw lines.located(error)
    }
  }

  private static func yaml(_ bytes: [UInt8]) throws(QCodecError) -> Policy {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
      let line = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0
      throw QCodecError(.invalidPolicy, "the policy is not valid UTF-8").on("line \(line + 1)")
    }
    let document = try PolicyDocument(yaml: text)
    do throws(QCodecError) { return try Policy(json: document.value) } catch { throw document.located(error) }
  }

  /// Line and column of a byte; columns count characters as YAML does.
  static func place(of offset: Int, in bytes: [UInt8]) -> String {
    let before = bytes.prefix(offset)
    let start = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    // Bytes that continue a character are 10xxxxxx.
    let column = before[start...].count { $0 & 0xC0 != 0x80 } + 1
    return "line \(before.count { $0 == 0x0A } + 1), column \(column)"
  }
}

extension QCodecError {
  /// The error with its place in a text instead of a byte's.
  func on(_ place: String) -> QCodecError { QCodecError(code, "\(message) (\(place))") }
}
