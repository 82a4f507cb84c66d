/// Decodes the chunks of a first moment in the update domain together with those of its second moment, in any order and
/// on any thread; the second moment is decoded once for both.
public struct PairDecoder: Sendable {
  /// The first moment's decoder, of the update domain.
  public let first: ChunkDecoder
  /// The second moment's decoder.
  public let second: ChunkDecoder
  private let names: (first: String, second: String)

  /// A decoder of both moments, which are of one shape; `names` are those that errors bear.
  ///
  /// Throws `unsupportedScheme` for a first moment outside the update domain or a second one that none may refer to,
  /// `shapeMismatch` for shapes of different sizes.
  public init(
    first: ChunkDecoder, second: ChunkDecoder, names: (first: String, second: String) = ("", "")
  ) throws(QCodecError) {
    guard first.layout.scheme.domain == .update, second.layout.scheme.isReferable else {
      throw QCodecError(.unsupportedScheme, "a pair is a first moment in the update domain and an unsigned second one")
    }
    guard first.layout.elementCount == second.layout.elementCount else {
      throw QCodecError(
        .shapeMismatch, "a pair of \(first.layout.elementCount) and \(second.layout.elementCount) elements",
        tensor: names.first)
    }
    self.first = first
    self.second = second
    self.names = names
  }

  /// Decodes elements of chunk `index` of both moments, or of the first alone.
  ///
  /// - Parameters:
  ///   - payload: exactly `first.layout.payloadByteCount(ofChunk:)` bytes; `secondPayload` likewise.
  ///   - elements: which elements, counted from the chunk's first; nil for all.
  ///   - target: exactly the bytes of those elements in the first moment's dtype.
  ///   - secondTarget: likewise for the second moment; nil where only the first is wanted.
  ///
  /// Throws as `ChunkDecoder.decode` does, for the second moment first; the error's `tensor` is the name of the moment
  /// whose payload or room it is. O(elements).
  public func decode(
    chunk index: Int, first payload: UnsafeRawBufferPointer, second secondPayload: UnsafeRawBufferPointer,
    elements: Range<Int>? = nil, into target: UnsafeMutableRawBufferPointer,
    _ secondTarget: UnsafeMutableRawBufferPointer?
  ) throws(QCodecError) {
    let divisors = try Self.naming(names.second) { () throws(QCodecError) in
      if let secondTarget = unsafe secondTarget {
        try unsafe second.decode(chunk: index, payload: secondPayload, elements: elements, into: secondTarget)
      }
      return try unsafe second.divisors(chunk: index, payload: secondPayload, elements: elements)
    }
    try Self.naming(names.first) { () throws(QCodecError) in
      try unsafe first.decode(
        chunk: index, payload: payload, elements: elements, divisors: divisors, into: target)
    }
  }

  /// Runs `body` and gives its errors a name.
  private static func naming<Result>(
    _ name: String, _ body: () throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    do throws(QCodecError) {
      return try body()
    } catch {
      var named = error
      named.tensor = name
      throw named
    }
  }
}
