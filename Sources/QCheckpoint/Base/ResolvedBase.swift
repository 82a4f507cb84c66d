import QCodec

/// What became of the search for a base: the reader of it, or why there is none; neither for a file that stands alone.
struct ResolvedBase: Sendable {
  var reader: CheckpointReader?
  var failure: QCodecError?

  /// A base that is at hand, or none that is needed.
  init(_ reader: CheckpointReader? = nil) { self.reader = reader }

  /// Searches; throws `cancelled` alone, for what a stopped call did not find is not missing.
  init(
    _ digest: Hash128, by resolver: BaseResolver, pool: BufferPool,
    document: () throws(QCodecError) -> JSONValue = { () throws(QCodecError) in .null }
  ) throws(QCodecError) {
    do throws(QCodecError) { reader = try resolver.resolve(digest, pool: pool, document: document) } catch {
      guard error.code != .cancelled else { throw error }
      failure = error
    }
  }
}
