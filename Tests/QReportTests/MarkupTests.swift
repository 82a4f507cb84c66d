import Testing

@testable import QReport

@Suite struct MarkupTests {
  @Test func whatIsTextIsNoMarkup() {
    let hostile = #"<script>alert("1" & '2')</script>"#
    let escaped = "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;"
    #expect(Markup.text(hostile).source == escaped)
    #expect(Markup.element("p", ["title": hostile], .text(hostile)).source == "<p title=\"\(escaped)\">\(escaped)</p>")
  }

  @Test func onlyElementsThatMayCloseThemselves() {
    #expect(Markup.element("td").source == "<td></td>")
    #expect(Markup.element("rect", ["x": "1", "y": nil]).source == #"<rect x="1" />"#)
    #expect(Markup.element("g", [:], .element("circle"), .text("a")).source == "<g><circle />a</g>")
  }

  @Test(arguments: [
    ("plain.name/exp_avg", "plain.name/exp_avg"),
    ("a\nb\rc\td\u{0}e", #"a\nb\rc\td\u{0}e"#),
    // Bidirectional controls, a zero-width space, a byte order mark, a tag, a private character and none at all.
    ("\u{202E}gnp", #"\u{202e}gnp"#), ("\u{2066}\u{2069}", #"\u{2066}\u{2069}"#), ("a\u{200B}b", #"a\u{200b}b"#),
    ("\u{FEFF}", #"\u{feff}"#), ("\u{E0041}", #"\u{e0041}"#), ("\u{E000}", #"\u{e000}"#), ("\u{FFFE}", #"\u{fffe}"#),
    ("a\u{2028}b\u{85}", #"a\u{2028}b\u{85}"#), ("漢字 é", "漢字 é"),
    ("e\u{301}\u{302}\u{303}\u{304}.", "e\u{301}\u{302}\\u{303}\\u{304}."),
  ]) func whatIsNotSeenIsShown(text: String, shown: String) {
    #expect(text.visible(limit: 100) == shown)
  }

  @Test func longTextsLoseTheirMiddle() {
    #expect("abcdefghij".visible(limit: 10) == "abcdefghij")
    #expect("abcdefghijk".visible(limit: 10) == "abcd…ghijk")
    #expect(String(repeating: "a", count: 65_536).visible(limit: 7) == "aaa…aaa")
    // One character of 65,536 scalars, and escapes that are longer than what they stand for.
    #expect(("z" + String(repeating: "\u{300}", count: 65_535)).visible(limit: 50).unicodeScalars.count == 50)
    #expect(String(repeating: "\u{202E}", count: 30).visible(limit: 60).unicodeScalars.count == 60)
    for limit in 3...40 {
      #expect("\u{202E}\u{202E}\u{202E}end".visible(limit: limit).unicodeScalars.count <= limit)
    }
  }

  @Test func namesLoseWhatAllShare() {
    let names = ["opt/blocks.0.fc.weight/m", "opt/blocks.0.fc.bias/m", "opt/blocks.11.ln.weight/m"]
    #expect(NameParts.shortened(names) == ["0.fc.weight", "0.fc.bias", "11.ln.weight"])
    #expect(NameParts.shortened(["a.b", "a.b.c"]) == ["b", "b.c"])
    #expect(NameParts.shortened(["same.name", "same.name"]) == ["same.name", "same.name"])
    #expect(NameParts.shortened(["alone.name"]) == ["alone.name"])
    #expect(NameParts.split("a.b/c") == ["a.", "b/", "c"])
  }
}
