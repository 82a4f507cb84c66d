import QCheckpoint
import QCodec
import QPolicyText

/// Policy files: JSON, and what is not JSON as YAML.
enum PolicyTextTarget {
  static func run(_ input: [UInt8]) -> Bool {
    let read = outcome { () throws(QCodecError) in try Policy(text: input) }
    let document = outcome { () throws(QCodecError) in try JSONValue(parsing: input) }.value
    if let document, case .object = document {
      let expected = outcome { () throws(QCodecError) in try Policy(json: document) }
      require(read.value == expected.value, "a policy as text is not that of its JSON")
    }
    guard let policy = read.value else {
      tolerate { () throws(QCodecError) in _ = try read.get() }
      return true
    }
    let text = Array(policy.json.serialized(pretty: true).utf8)
    require(outcome { () throws(QCodecError) in try Policy(text: text) }.value == policy, "a policy changes")
    return true
  }
}
