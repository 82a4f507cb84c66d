import QCheckpoint
import QCodec
import Testing

@Suite struct JSONTests {
  private func refusal(_ bytes: [UInt8]) -> QCodecError? { inputError { _ = try JSONValue(parsing: bytes) } }

  private func refusal(_ text: String) -> QCodecError? { refusal(Array(text.utf8)) }

  @Test func everyKindOfValueIsRead() throws {
    let text = #" {"a":[1,-2,0.5,1e3,-0,true,false,null],"b":"\u00e9\n\ud83d\ude00é","c":{}, "d" : [ ] } "#
    let value = try JSONValue(parsing: text)
    let list: [JSONValue] = [
      .integer(1), .integer(-2), .number(0.5), .number(1000), .number(-0.0), .bool(true), .bool(false), .null,
    ]
    #expect(value["a"] == .array(list))
    #expect(value["b"] == .string("é\n😀é"))
    #expect(value["c"] == .object([:]))
    #expect(value["d"]?.arrayValue == [])
  }

  @Test func writingIsSortedAndReadsBackEqual() throws {
    let value = JSONValue.object([
      "b": .array([.number(0.1), .number(.leastNonzeroMagnitude), .number(1e300), .integer(.min)]),
      "a": .string("\u{1}\"\\/\t\u{7F}"),
      "ä": .null, "Z": .number(-0.0),
    ])
    let text = value.serialized()
    #expect(
      text == #"{"Z":-0.0,"a":"\u0001\"\\/\t"# + "\u{7F}" + #"","b":[0.1,5e-324,1e+300,-9223372036854775808],"ä":null}"#
    )
    #expect(try JSONValue(parsing: text) == value)
    #expect(try JSONValue(parsing: value.serialized(pretty: true)) == value)
    #expect(try JSONValue(parsing: text).serialized() == text)
  }

  @Test func nonFiniteNumbersAreWrittenAsNull() {
    #expect(
      JSONValue.array([.number(.nan), .number(.infinity), .number(-.infinity)]).serialized() == "[null,null,null]")
  }

  @Test func duplicateKeysAreRefusedAtTheSecond() {
    let error = refusal(#"{"a":1,"b":2,"a":1}"#)
    #expect(error?.code == .invalidJSON)
    #expect(error?.offset == 13)
    #expect(refusal(#"{"a":1,"\u0061":1}"#)?.offset == 7)
  }

  @Test func nestingStopsAt128Levels() throws {
    func nested(_ levels: Int) -> String {
      String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
    }
    _ = try JSONValue(parsing: nested(128))
    let error = refusal(nested(129))
    #expect(error?.code == .invalidJSON)
    #expect(error?.offset == 128)
    #expect(refusal(String(repeating: #"{"a":"#, count: 100_000))?.offset == 128 * 5)
    // Depth counts levels, not brackets.
    _ = try JSONValue(parsing: "[" + String(repeating: "[],", count: 500) + "[]]")
  }

  @Test(arguments: [
    ("", 0), ("  ", 2), ("{} x", 3), ("{}{}", 2), ("[1,]", 3), ("[1 2]", 3), ("{\"a\" 1}", 5), ("{\"a\":1,}", 7),
    ("{a:1}", 1), ("[", 1), ("{\"a\":", 5), ("tru", 0), ("nul", 0), ("+1", 0), ("01", 0), ("-", 1), ("1.", 2),
    (".5", 0),
    ("1e", 2), ("1e+", 3), ("NaN", 0), ("Infinity", 0), ("-Infinity", 1), ("1e999", 0), ("9223372036854775808", 0),
    ("'a'", 0), ("\"a", 0), ("\"\\x\"", 1), ("\"\\u12g4\"", 1), ("\"\\", 1), ("\"a\nb\"", 2), ("\"a\0\"", 2),
    ("// c", 0), ("\u{FEFF}{}", 0), ("[1]\0", 3), ("\u{A0}1", 0),
  ])
  func malformedTextIsRefusedAtItsByte(text: String, offset: UInt64) {
    let error = refusal(text)
    #expect(error?.code == .invalidJSON)
    #expect(error?.offset == offset, "\(text)")
  }

  @Test(arguments: [#""\ud800""#, #""\udc00""#, #""\ud800x""#, #""\ud800\n""#, #""\ud800\ud800""#, #""\ud83d\u0041""#])
  func unpairedSurrogatesAreRefused(text: String) {
    let error = refusal(text)
    #expect(error?.code == .invalidJSON)
    #expect(error?.offset == 1)
  }

  @Test(
    arguments: [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80]] as [[UInt8]])
  func invalidUTF8IsRefused(bytes: [UInt8]) {
    #expect(refusal([0x22] + bytes + [0x22])?.code == .invalidJSON)
    #expect(refusal(bytes)?.code == .invalidJSON)
  }

  @Test func everyTruncationIsRefused() {
    let text = Array(#"{"key":["vélue",1.5e3,true,null,{"x":"\ud83d\ude00"}]}"#.utf8)
    for count in 0..<text.count { #expect(refusal(Array(text[..<count]))?.code == .invalidJSON, "\(count) bytes") }
  }

  @Test func everyChangedByteIsReadOrRefused() {
    let text = Array(#"{"key":["vélue",1.5e3,true,null,{"x":"\ud83d\ude00"}]}"#.utf8)
    for index in text.indices {
      for byte in UInt8.min...UInt8.max {
        var changed = text
        changed[index] = byte
        let error = refusal(changed)
        #expect(error == nil || error?.code == .invalidJSON)
        #expect(error == nil || error?.offset != nil)
      }
    }
  }
}
