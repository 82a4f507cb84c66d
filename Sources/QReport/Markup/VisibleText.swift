extension String {
  /// A text from a file as a page may show it: what would not be seen, or would change how what is beside it is seen,
  /// stands as `\u{…}`; a long one loses its middle.
  ///
  /// That is controls, line separators, characters of format (bidirectional controls, zero-width ones, tags) and what is
  /// no character; and of marks upon one character, which would reach over lines, all but two. Cut by scalars, for one
  /// character may be of thousands.
  func visible(limit: Int) -> String {
    let all = unicodeScalars
    let head = Self.visible(all.prefix(limit + 1))
    if head.count <= limit, all.prefix(limit + 1).count <= limit { return Self.text(head) }
    let tail = Self.visible(all.suffix(limit)).suffix(limit / 2)
    return Self.text(head.prefix(limit - 1 - tail.count) + ["…"] + tail)
  }

  private static func text(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    scalars.reduce(into: "") { $0.unicodeScalars.append($1) }
  }

  private static func visible(_ scalars: some Sequence<Unicode.Scalar>) -> [Unicode.Scalar] {
    var marks = 0
    return scalars.flatMap { scalar -> [Unicode.Scalar] in
      marks = scalar.isStacked ? marks + 1 : 0
      switch scalar {
      case "\n": return ["\\", "n"]
      case "\r": return ["\\", "r"]
      case "\t": return ["\\", "t"]
      case _ where scalar.isInvisible || marks > 2:
        return Array("\\u{\(Swift.String(scalar.value, radix: 16))}".unicodeScalars)
      default: return [scalar]
      }
    }
  }
}

extension Unicode.Scalar {
  fileprivate var isInvisible: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: true
    default: false
    }
  }

  /// Whether it is drawn upon what stands before it.
  fileprivate var isStacked: Bool {
    [.nonspacingMark, .enclosingMark].contains(properties.generalCategory)
  }
}
