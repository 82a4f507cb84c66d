import QCheckpoint
import QCodec

/// Holds what can be recovered of a damaged file against what the damage left.
struct SalvageCheck {
  struct Result {
    var hasDirectory = false
    var recovered = 0
    var undamaged = 0
    var failure: String?
  }

  private let file: IntactFile
  private let damaged: DamagedFile

  init(_ file: IntactFile, _ damaged: DamagedFile) {
    self.file = file
    self.damaged = damaged
  }

  func run(_ source: MemorySource) -> Result {
    var result = Result()
    let recovery: Recovery
    do throws(QCodecError) {
      recovery = try Recovery(source: source, threads: 1)
    } catch {
      result.undamaged = expected(hasDirectory: false).count
      // What has no tensor left is refused for what it is.
      if result.undamaged > 0 { result.failure = "nothing is recovered: \(error)" }
      return result
    }
    result.hasDirectory = !recovery.isDirectoryLost
    let expected = expected(hasDirectory: result.hasDirectory)
    result.undamaged = expected.count
    var whole: Set<Int> = []
    for tensor in recovery.tensors {
      guard let number = file.find(tensor.name) else {
        result.failure = "a tensor '\(tensor.name)' is recovered that there was not"
        continue
      }
      if tensor.isWhole { whole.insert(number) }
      if let failure = check(tensor, number, of: recovery) { result.failure = failure }
    }
    result.recovered = whole.intersection(expected).count
    if let lost = expected.subtracting(whole).min() {
      result.failure = "the undamaged '\(file.tensors[lost].info.name)' is not recovered"
    }
    return result
  }

  /// The tensors that the damage left whole: by a directory all whose chunks are anywhere in the file; without one those
  /// whose chunks and leads are at their places, with all that stands between them.
  private func expected(hasDirectory: Bool) -> Set<Int> {
    Set(
      file.tensors.indices.filter { tensor in
        let chunks = file.chunksNeeded(by: tensor)
        if hasDirectory { return chunks.allSatisfy(isThere) }
        guard let first = chunks.min(), let last = chunks.max() else { return false }
        return damaged.keeps(file.chunks[first].lead.lowerBound..<file.chunks[last].stored.upperBound)
      })
  }

  /// Whether a chunk can be found by a directory: at its place, or with its frame anywhere.
  private func isThere(_ chunk: Int) -> Bool {
    let stored = file.chunks[chunk].stored
    return damaged.keeps(stored) || damaged.holds(stored.lowerBound - IntactFile.frameSize..<stored.upperBound)
  }

  /// What is wrong with a recovered tensor: its description, a value that is not lost, or what is said to be.
  private func check(_ tensor: Recovery.Tensor, _ number: Int, of recovery: Recovery) -> String? {
    let intact = file.tensors[number]
    guard tensor.dtype == intact.info.dtype, tensor.shape == intact.info.shape else {
      return "'\(tensor.name)' is recovered as another dtype or shape"
    }
    let lostBytes = tensor.lost.map { bytes(of: $0, dtype: tensor.dtype) }
    if let index = tensor.number {
      var start: UInt64 = 0
      for range in lostBytes + [intact.info.sourceBytes..<intact.info.sourceBytes] {
        if start < range.lowerBound, !isEqual(index, start..<range.lowerBound, intact, recovery.reader) {
          return "'\(tensor.name)' is recovered with wrong values"
        }
        start = max(start, range.upperBound)
      }
    }
    guard !recovery.isDirectoryLost else { return nil }
    // Lost is what chunks held that are gone, and nothing else.
    let gone = file.chunksNeeded(by: number).filter { !isThere($0) }.map { file.chunks[$0].location.elements }
    let isExact = tensor.lost.allSatisfy { range in
      var start = range.lowerBound
      for other in gone.sorted(by: { $0.lowerBound < $1.lowerBound }) where other.lowerBound <= start {
        start = max(start, other.upperBound)
      }
      return start >= range.upperBound
    }
    return isExact ? nil : "of '\(tensor.name)' more is said to be lost than is"
  }

  private func bytes(of elements: Range<UInt64>, dtype: DType) -> Range<UInt64> {
    let width = UInt64(dtype.bitWidth)
    return elements.lowerBound * width / 8..<(elements.upperBound * width + 7) / 8
  }

  private func isEqual(
    _ index: Int, _ range: Range<UInt64>, _ intact: IntactFile.Tensor, _ reader: CheckpointReader
  ) -> Bool {
    var bytes = [UInt8](repeating: 0, count: Int(range.upperBound - range.lowerBound))
    let isRead: Void? = try? unsafe bytes.withUnsafeMutableBytes { buffer in
      try unsafe reader.readBytes(tensor: index, at: range.lowerBound, into: buffer)
    }
    return isRead != nil && bytes.equals(intact.bytes, Int(range.lowerBound)..<Int(range.upperBound))
  }
}
