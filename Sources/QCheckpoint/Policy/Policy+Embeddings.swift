extension Policy {
  /// Whether a name is that of an embedding, whose state both papers advise to keep in 32 bits: gradients of its rows are
  /// rare and large beside those of other parameters.
  ///
  /// A name is cut at `.` `/` `:` `[` `]` `(` `)` `,` quotes and spaces. A component tells where it is `wte` or `wpe`, or
  /// has a word, between `_` and `-`, that begins with `embed`; capitals count as small letters. So do `tok_embeddings`,
  /// `embed_tokens`, `pos_embed`, `Embed_0`.
  public static func isEmbedding(_ name: String) -> Bool {
    RoleRecognizer.components(of: name).contains { component in
      component.text.utf8.split { $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }.contains { word in
        let word = Substring(word).lowercased()
        return word == "wte" || word == "wpe" || word.hasPrefix("embed")
      }
    }
  }

  /// The policy under which embeddings are stored lossless, whatever its rules say of them.
  public func keepingEmbeddings() -> Policy {
    var result = self
    result.rules.insert(Rule(match: Match(isEmbedding: true), action: .lossless), at: 0)
    return result
  }
}
