import QCodec

/// A way to change a file on purpose, the sums of directory and trailer made right again.
enum Forgery: String, CaseIterable, Sendable {
  /// Two chunks of equal length in each other's places, with their records' checksums; the frames are not changed.
  case chunksExchanged = "chunks_exchanged"
  /// One chunk in the place of another of equal length.
  case chunkRepeated = "chunk_repeated"
  /// The former two with the frames changed as well: nothing is left that could tell.
  case chunksExchangedWithFrames = "chunks_exchanged_with_frames"
  case chunkRepeatedWithFrames = "chunk_repeated_with_frames"
  case chunkByte = "chunk_byte"
  case directoryByte = "directory_byte"
  case metadataByte = "metadata_byte"

  /// Whether a verifier must see it, whatever else is right: frames are not what the directory says.
  var leavesFrames: Bool { self == .chunksExchanged || self == .chunkRepeated }
}

/// A forged file in the making.
struct ForgedFile {
  private(set) var bytes: [UInt8]
  private let file: IntactFile

  /// Forges a file; nil where it has nothing of the kind to change, or the change leaves it as it is.
  init?(_ file: IntactFile, _ forgery: Forgery, by generator: inout CaseGenerator) {
    bytes = file.bytes
    self.file = file
    switch forgery {
    case .chunksExchanged, .chunkRepeated, .chunksExchangedWithFrames, .chunkRepeatedWithFrames:
      guard let (one, other) = equalChunks(by: &generator) else { return nil }
      let isExchanged = forgery == .chunksExchanged || forgery == .chunksExchangedWithFrames
      replace(other, by: file.bytes[file.chunks[one].stored], frames: !forgery.leavesFrames)
      if isExchanged { replace(one, by: file.bytes[file.chunks[other].stored], frames: !forgery.leavesFrames) }
    case .chunkByte:
      guard let chunk = file.chunks.indices.randomElement(using: &generator) else { return nil }
      var stored = Array(file.bytes[file.chunks[chunk].stored])
      stored[Int.random(in: 0..<stored.count, using: &generator)] ^= UInt8.random(in: 1...255, using: &generator)
      replace(chunk, by: stored[...], frames: true)
    case .directoryByte: guard change(directory, by: &generator) else { return nil }
    case .metadataByte: guard change(metadata, by: &generator) else { return nil }
    }
    guard !bytes.equals(file.bytes, file.bytes.indices) else { return nil }
    seal()
  }

  // MARK: Places, as Spec/Checkpoint.md has them

  private var trailer: Int { bytes.count - 96 }
  private var directory: Range<Int> { range(at: trailer) }
  private var metadata: Range<Int> { range(at: trailer + 24) }

  private func range(at place: Int) -> Range<Int> {
    let start = Int(word(place))
    return start..<start + Int(word(place + 8))
  }

  private func word(_ place: Int) -> UInt64 {
    (0..<8).reduce(0) { $0 | UInt64(bytes[place + $1]) << UInt64(8 * $1) }
  }

  private mutating func set(_ place: Int, _ value: UInt64) {
    for byte in 0..<8 { bytes[place + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
  }

  private func record(ofChunk index: Int) -> Int {
    let start = directory.lowerBound
    return start + 64 + Int(word(start)) * 136 + Int(word(start + 16)) * 8 + index * 32
  }

  // MARK: Changes

  /// Two chunks of equal length that differ.
  private func equalChunks(by generator: inout CaseGenerator) -> (Int, Int)? {
    guard let one = file.chunks.indices.randomElement(using: &generator) else { return nil }
    let others = file.chunks.indices.filter { other in
      let (a, b) = (file.chunks[one].stored, file.chunks[other].stored)
      return other != one && a.count == b.count && !Array(file.bytes[a]).equals(file.bytes, b)
    }
    return others.randomElement(using: &generator).map { (one, $0) }
  }

  private mutating func replace(_ chunk: Int, by stored: ArraySlice<UInt8>, frames: Bool) {
    let place = file.chunks[chunk].stored
    bytes.replaceSubrange(place, with: stored)
    let hash = xxh3(Array(stored))
    set(record(ofChunk: chunk) + 16, hash)
    if frames { set(place.lowerBound - 8, hash) }
  }

  private mutating func change(_ range: Range<Int>, by generator: inout CaseGenerator) -> Bool {
    guard let place = range.randomElement(using: &generator) else { return false }
    bytes[place] ^= UInt8.random(in: 1...255, using: &generator)
    return true
  }

  private mutating func seal() {
    set(trailer + 16, xxh3(Array(bytes[directory])))
    set(trailer + 40, xxh3(Array(bytes[metadata])))
    set(trailer + 88, xxh3(Array(bytes[trailer..<trailer + 88])))
  }
}
