import QCheckpoint
import QCodec

/// Tries ways to store a unit on chunks of it.
struct UnitMeasurer: Sendable {
  let unit: PlanUnit
  let candidates: [PlanCandidate]
  let epsilon: Double
  let compression: Compression

  /// What a way does to a chunk; nil where it cannot be had.
  struct Outcome: Sendable {
    var first: TensorStatistics?
    var second: TensorStatistics?
    var update: UpdateError?
    /// Bytes after the lossless stage.
    var storedBytes = 0
  }

  /// A chunk under every way.
  func measure(chunk: Int) throws(QCodecError) -> [Outcome?] {
    let elements = elements(ofChunk: chunk)
    let (m, v) = (try bytes(unit.first, elements), try bytes(unit.second, elements))
    var results: [Outcome?] = []
    results.reserveCapacity(candidates.count)
    for candidate in candidates {
      results.append(try trial(candidate, ChunkMoments(m: m, v: v, count: elements.count)))
    }
    return results
  }

  /// Normalised first moments of a chunk in the update domain, for tables to be fitted to.
  func samples(chunk: Int, block: Int) throws(QCodecError) -> [(value: Float, weight: Double)] {
    guard let first = unit.first, let second = unit.second else { return [] }
    let elements = elements(ofChunk: chunk)
    let (m, v) = (try bytes(first, elements), try bytes(second, elements))
    let quotients = zip(m.floats(first.dtype), v.floats(second.dtype)).map { $1 > 0 ? $0 / $1.squareRoot() : $0 }
    return stride(from: 0, to: quotients.count, by: block).flatMap { start -> [(value: Float, weight: Double)] in
      let own = quotients[start..<min(quotients.count, start + block)]
      guard let extreme = own.max(by: { $0.magnitude < $1.magnitude }), extreme != 0, extreme.isFinite else {
        return []
      }
      let weight = Double(extreme) * Double(extreme)
      return own.map { ($0 / extreme, weight) }
    }
  }

  private func elements(ofChunk chunk: Int) -> Range<Int> {
    let start = chunk * TensorLayout.chunkElements
    return start..<min(unit.elements, start + TensorLayout.chunkElements)
  }

  private func bytes(_ tensor: InputTensor?, _ elements: Range<Int>) throws(QCodecError) -> [UInt8] {
    guard let tensor else { return [] }
    let size = tensor.dtype.bitWidth / 8
    do throws(QCodecError) {
      return try tensor.source.bytes(at: UInt64(elements.lowerBound * size), count: elements.count * size)
    } catch {
      var named = error
      named.tensor = error.tensor ?? tensor.name
      throw named
    }
  }

  private func trial(_ candidate: PlanCandidate, _ moments: ChunkMoments) throws(QCodecError) -> Outcome? {
    do throws(QCodecError) {
      return try Trial(unit: unit, candidate: candidate, epsilon: epsilon, compression: compression).run(moments)
    } catch {
      switch error.code {
      // What no scheme holds is stored lossless.
      case .nonFiniteValue, .negativeValue, .updateNotFinite: return nil
      default: throw error
      }
    }
  }
}

/// A chunk of each tensor of a unit.
struct ChunkMoments: Sendable {
  let m: [UInt8]
  let v: [UInt8]
  let count: Int
}

extension [UInt8] {
  /// Elements of a quantizable dtype.
  func floats(_ dtype: DType) -> [Float] { unsafe withUnsafeBytes { unsafe dtype.floats($0) } }
}
