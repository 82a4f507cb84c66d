import QCheckpoint
import QCodec

/// Compares two tensors element by element in C order, chunks on several threads.
struct TensorComparison: Sendable {
  /// What was found of a tensor, or of a chunk of it.
  struct Found: Sendable {
    var differing: UInt64 = 0
    /// Bytes of both that were read.
    var byteCount: UInt64 = 0
    /// nil for dtypes that no distance is computed of.
    var distance: ValueDistance?

    mutating func append(_ next: Found) {
      differing += next.differing
      byteCount += next.byteCount
      if let other = next.distance { distance?.append(other) }
    }
  }

  private let a: ComparedTensor
  private let b: ComparedTensor
  private let threads: Int

  /// nil where elements cannot be set side by side: there are more of one than of the other, or their dtypes differ and
  /// are not both of those that distances are computed of.
  init?(_ a: InputTensor, _ b: InputTensor, threads: Int) {
    (self.a, self.b, self.threads) = (ComparedTensor(a), ComparedTensor(b), threads)
    guard self.a.elements == self.b.elements else { return nil }
    guard a.dtype == b.dtype || a.dtype.hasDistance && b.dtype.hasDistance else { return nil }
  }

  /// Reads both; throws as their sources do. `progress` is called with the bytes of both that were read since the last call.
  func run(progress: (UInt64) -> Void) throws(QCodecError) -> Found {
    var total = Found(distance: a.dtype.hasDistance ? ValueDistance() : nil)
    try orderedPipeline(count: a.chunkCount, threads: threads) { chunk throws(QCodecError) in
      try compare(chunk)
    } consume: { (next: Found) in
      total.append(next)
      progress(next.byteCount)
    }
    return total
  }

  private func compare(_ chunk: Int) throws(QCodecError) -> Found {
    let (own, other) = (try a.bytes(ofChunk: chunk), try b.bytes(ofChunk: chunk))
    let width = a.dtype.bitWidth
    let byteCount = UInt64(own.count + other.count)
    guard a.dtype.hasDistance else {
      return Found(differing: ElementBits.differing(own, other, width: width), byteCount: byteCount)
    }
    let values = (a.values(own), b.values(other))
    if a.dtype == b.dtype {
      return Found(
        differing: ElementBits.differing(own, other, width: width), byteCount: byteCount,
        distance: ValueDistance(values.0, values.1) { ElementBits.areSame(own, other, $0, width: width) })
    }
    let areSame = { values.0[$0].bitPattern == values.1[$0].bitPattern }
    let differing = values.0.indices.reduce(0) { $0 + (areSame($1) ? 0 : 1) }
    return Found(
      differing: UInt64(differing), byteCount: byteCount,
      distance: ValueDistance(values.0, values.1, areSame: areSame))
  }
}
