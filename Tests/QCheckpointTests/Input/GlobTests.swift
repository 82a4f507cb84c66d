import QCheckpoint
import QCodec
import Testing

@Suite struct GlobTests {
  @Test(arguments: [
    ("*", "", true), ("*", "a/b.c", true), ("", "", true), ("", "a", false), ("a", "a", true), ("a", "ab", false),
    ("a*", "a", true), ("*a", "ba", true), ("*a", "ab", false), ("a?c", "abc", true), ("a?c", "ac", false),
    ("*embed*", "model.embed_tokens.weight", true), ("*.bias", "x.bias.weight", false), ("a**b", "axxb", true),
    ("[a-c]x", "bx", true), ("[a-c]x", "dx", false), ("[!a-c]x", "dx", true), ("[^a-c]x", "ax", false),
    ("[]]", "]", true), ("[*]", "*", true), ("[*]", "a", false), ("[a-]", "-", true), ("?", "😀", true),
    ("*ab*ab*c", "abxabab", false), ("*ab*ab*c", "abxababc", true), ("A", "a", false),
  ])
  func wholeNamesMatch(pattern: String, name: String, expected: Bool) throws {
    #expect(try Glob(pattern).matches(name) == expected, "\(pattern) \(name)")
  }

  @Test(arguments: ["[", "[a", "a[]", "[!", "[z-a]", "[!]"])
  func openSetsAndReversedRangesAreRefused(pattern: String) {
    #expect(inputError { _ = try Glob(pattern) }?.code == .invalidArgument)
  }

  @Test func manyStarsTakeNoExponentialTime() throws {
    let glob = try Glob(String(repeating: "a*", count: 200) + "b")
    #expect(!glob.matches(String(repeating: "a", count: 5000)))
  }
}
