import QCodec

/// A pattern for whole tensor names: `*` any run of characters (separators too), `?` any one, `[a-z]` one of a set,
/// `[!a-z]` or `[^a-z]` one not of it. Case-sensitive, by Unicode scalars; `[*]` is a literal star.
public struct Glob: Sendable, Hashable {
  private enum Element: Sendable, Hashable {
    case run
    case any
    case literal(Unicode.Scalar)
    case set(ranges: [ClosedRange<Unicode.Scalar>], negated: Bool)

    func matches(_ scalar: Unicode.Scalar) -> Bool {
      switch self {
      case .run: false
      case .any: true
      case .literal(let own): own == scalar
      case .set(let ranges, let negated): ranges.contains { $0.contains(scalar) } != negated
      }
    }
  }

  /// The pattern as written.
  public let pattern: String
  private let elements: [Element]

  /// Reads a pattern; throws `invalidArgument` where a set is not closed, is empty or holds a range from high to low.
  public init(_ pattern: String) throws(QCodecError) {
    self.pattern = pattern
    var elements: [Element] = []
    var rest = Array(pattern.unicodeScalars)[...]
    while let scalar = rest.popFirst() {
      switch scalar {
      case "*": if elements.last != .run { elements.append(.run) }
      case "?": elements.append(.any)
      case "[": elements.append(try Self.set(&rest, of: pattern))
      default: elements.append(.literal(scalar))
      }
    }
    self.elements = elements
  }

  /// A pattern that matches one name alone, whatever it is made of.
  public init(literal name: String) throws(QCodecError) {
    var pattern = ""
    for scalar in name.unicodeScalars {
      // A bracket that comes first in a set stands for itself.
      pattern += "*?[".unicodeScalars.contains(scalar) ? "[\(scalar)]" : String(scalar)
    }
    try self.init(pattern)
  }

  private static func set(_ rest: inout ArraySlice<Unicode.Scalar>, of pattern: String) throws(QCodecError) -> Element {
    let negated = rest.first == "!" || rest.first == "^"
    if negated { rest.removeFirst() }
    var ranges: [ClosedRange<Unicode.Scalar>] = []
    while let low = rest.popFirst() {
      // A bracket that comes first stands for itself, as in POSIX.
      if low == "]", !ranges.isEmpty { return .set(ranges: ranges, negated: negated) }
      guard rest.first == "-", let high = rest.dropFirst().first, high != "]" else {
        ranges.append(low...low)
        continue
      }
      guard low <= high else {
        throw QCodecError(.invalidArgument, "the glob '\(pattern)' holds a range from high to low")
      }
      ranges.append(low...high)
      rest.removeFirst(2)
    }
    throw QCodecError(.invalidArgument, "the glob '\(pattern)' holds a '[' without its ']'")
  }

  /// The one name that matches; nil where several may.
  var literal: String? {
    var scalars = String.UnicodeScalarView()
    for element in elements {
      switch element {
      case .literal(let scalar): scalars.append(scalar)
      case .set(let ranges, false) where ranges.count == 1 && ranges[0].lowerBound == ranges[0].upperBound:
        scalars.append(ranges[0].lowerBound)
      default: return nil
      }
    }
    return String(scalars)
  }

  /// Whether the whole of `name` matches; O(name × pattern) at worst.
  public func matches(_ name: String) -> Bool {
    var scalars = name.unicodeScalars[...]
    var next = 0
    // Where to resume when a literal fails: the element after the last run, and the text that the run gives up.
    var resume: (element: Int, text: Substring.UnicodeScalarView)?
    while let scalar = scalars.first {
      if next < elements.count, elements[next] == .run {
        next += 1
        resume = (next, scalars)
      } else if next < elements.count, elements[next].matches(scalar) {
        next += 1
        scalars.removeFirst()
      } else if let (element, text) = resume {
        next = element
        scalars = text.dropFirst()
        resume = (element, scalars)
      } else {
        return false
      }
    }
    return elements[next...].allSatisfy { $0 == .run }
  }
}
