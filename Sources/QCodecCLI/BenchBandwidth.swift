import QCodec

/// What the machine does without a codec: copying and reading memory, on as many threads.
struct BenchBandwidth {
  let source: BenchMemory
  let target: BenchMemory
  let threads: Int

  /// The bytes that a pass copies or reads.
  var byteCount: Int { unsafe min(source.bytes.count, target.bytes.count) }

  /// Copies all of the source once.
  func copy() throws {
    try forEachPart { range in unsafe target.room(range).copyMemory(from: source[range]) }
  }

  /// Reads all of the source once, into a sum that is used.
  func read() throws {
    try forEachPart { range in
      let sum = unsafe Self.sum(source[range])
      unsafe target.room(range).storeBytes(of: sum, as: UInt64.self)
    }
  }

  private func forEachPart(_ body: @escaping @Sendable (Range<Int>) -> Void) throws {
    let bytes = byteCount
    let parts = threads
    try parallelFor(count: parts, threads: threads) { part in
      // Parts begin on cache lines.
      body(bytes / 64 * part / parts * 64..<bytes / 64 * (part + 1) / parts * 64)
    }
  }

  /// The sum of all words, a multiple of 64 bytes; four sums at a time, so that none waits for the one before.
  private static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var sums = (SIMD8<UInt64>.zero, SIMD8<UInt64>.zero, SIMD8<UInt64>.zero, SIMD8<UInt64>.zero)
    let lines = unsafe bytes.bindMemory(to: SIMD8<UInt64>.self)
    var line = 0
    while line + 4 <= lines.count {
      unsafe sums.0 &+= lines[line]
      unsafe sums.1 &+= lines[line + 1]
      unsafe sums.2 &+= lines[line + 2]
      unsafe sums.3 &+= lines[line + 3]
      line += 4
    }
    while line < lines.count {
      unsafe sums.0 &+= lines[line]
      line += 1
    }
    return (sums.0 &+ sums.1 &+ sums.2 &+ sums.3).wrappedSum()
  }
}
