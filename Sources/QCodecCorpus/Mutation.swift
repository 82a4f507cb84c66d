/// A way to damage a file.
enum Mutation: String, CaseIterable, Sendable {
  case bitFlip = "bit_flip"
  case byteFlip = "byte_flip"
  case byteSwap = "byte_swap"
  case sectorSwap = "sector_swap"
  case truncation
  case zeroed512 = "zeroed_512"
  case zeroed4096 = "zeroed_4096"
  /// A chunk with its frame written over another.
  case chunkOverChunk = "chunk_duplicated_in_place"
  /// A chunk with its frame twice; what follows is moved.
  case chunkInserted = "chunk_inserted"
  /// Two chunks, each with its frame, in each other's places; what is between is moved.
  case chunksSwapped = "chunks_reordered"
  /// A chunk with its frame gone; what follows is moved.
  case chunkRemoved = "chunk_removed"
  case bytesInserted = "bytes_inserted"
  case bytesRemoved = "bytes_removed"

  /// Whether it takes a file of two chunks or more.
  var needsChunks: Bool {
    switch self {
    case .chunkOverChunk, .chunksSwapped: true
    case .chunkInserted, .chunkRemoved: true
    default: false
    }
  }
}

/// A damaged file, and what of the intact one is in it.
struct DamagedFile {
  /// Bytes of the intact file that stand unchanged in the damaged one.
  struct Segment {
    let source: Range<Int>
    let place: Int
  }

  private(set) var bytes: [UInt8] = []
  private(set) var segments: [Segment] = []

  /// Damages a file in one way, at places that the generator chooses.
  init(_ file: IntactFile, _ mutation: Mutation, by generator: inout CaseGenerator) {
    let size = file.bytes.count
    bytes.reserveCapacity(size + 4096)
    switch mutation {
    case .bitFlip:
      let at = Int.random(in: 0..<size, using: &generator)
      overwrite(file, [(at..<at + 1, [file.bytes[at] ^ 1 << UInt8.random(in: 0..<8, using: &generator)])])
    case .byteFlip:
      let at = Int.random(in: 0..<size, using: &generator)
      overwrite(file, [(at..<at + 1, [UInt8.random(in: 0...255, using: &generator)])])
    case .byteSwap: swap(file, length: 1, by: &generator)
    case .sectorSwap: swap(file, length: Bool.random(using: &generator) ? 512 : 4096, by: &generator)
    case .truncation: copy(file, 0..<Int.random(in: 0..<size, using: &generator))
    case .zeroed512: zero(file, sector: 512, by: &generator)
    case .zeroed4096: zero(file, sector: 4096, by: &generator)
    case .chunkOverChunk, .chunkInserted, .chunksSwapped, .chunkRemoved: damageChunks(file, mutation, by: &generator)
    case .bytesInserted:
      let at = Int.random(in: 0...size, using: &generator)
      copy(file, 0..<at)
      bytes += (0..<Int.random(in: 1...300, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator)
      }
      copy(file, at..<size)
    case .bytesRemoved:
      let at = Int.random(in: 0..<size, using: &generator)
      copy(file, 0..<at)
      copy(file, min(size, at + Int.random(in: 1...4096, using: &generator))..<size)
    }
  }

  // MARK: Pieces

  private mutating func copy(_ file: IntactFile, _ range: Range<Int>) {
    segments.append(Segment(source: range, place: bytes.count))
    bytes += file.bytes[range]
  }

  /// The file with other bytes in ranges that ascend and do not overlap.
  private mutating func overwrite(_ file: IntactFile, _ changes: [(range: Range<Int>, bytes: [UInt8])]) {
    var end = 0
    for change in changes {
      copy(file, end..<change.range.lowerBound)
      bytes += change.bytes
      end = change.range.upperBound
    }
    copy(file, end..<file.bytes.count)
  }

  private mutating func zero(_ file: IntactFile, sector: Int, by generator: inout CaseGenerator) {
    let start = Int.random(in: 0...(file.bytes.count - 1) / sector, using: &generator) * sector
    let range = start..<min(start + sector, file.bytes.count)
    overwrite(file, [(range, [UInt8](repeating: 0, count: range.count))])
  }

  private mutating func swap(_ file: IntactFile, length: Int, by generator: inout CaseGenerator) {
    let units = file.bytes.count / length
    guard units > 1 else { return overwrite(file, []) }
    let pair = [Int.random(in: 0..<units, using: &generator), Int.random(in: 0..<units, using: &generator)].sorted()
    guard pair[0] != pair[1] else { return overwrite(file, []) }
    let ranges = pair.map { $0 * length..<($0 + 1) * length }
    overwrite(file, [(ranges[0], Array(file.bytes[ranges[1]])), (ranges[1], Array(file.bytes[ranges[0]]))])
  }

  private mutating func damageChunks(_ file: IntactFile, _ mutation: Mutation, by generator: inout CaseGenerator) {
    let size = file.bytes.count
    let numbers = [
      Int.random(in: 0..<file.chunks.count, using: &generator),
      Int.random(in: 0..<file.chunks.count, using: &generator),
    ].sorted()
    let ranges = numbers.map { number in
      let stored = file.chunks[number].stored
      return stored.lowerBound - IntactFile.frameSize..<stored.upperBound
    }
    let (first, second) = (ranges[0], ranges[1])
    switch mutation {
    case .chunkRemoved:
      copy(file, 0..<first.lowerBound)
      copy(file, first.upperBound..<size)
    case .chunkInserted:
      copy(file, 0..<second.upperBound)
      copy(file, first)
      copy(file, second.upperBound..<size)
    case .chunkOverChunk where numbers[0] != numbers[1]:
      let count = min(first.count, second.count)
      let (source, target) = Bool.random(using: &generator) ? (first, second) : (second, first)
      overwrite(
        file,
        [
          (
            target.lowerBound..<target.lowerBound + count,
            Array(file.bytes[source.lowerBound..<source.lowerBound + count])
          )
        ])
    case .chunksSwapped where numbers[0] != numbers[1]:
      copy(file, 0..<first.lowerBound)
      copy(file, second)
      copy(file, first.upperBound..<second.lowerBound)
      copy(file, first)
      copy(file, second.upperBound..<size)
    default: overwrite(file, [])
    }
  }

  // MARK: What is left

  /// Whether bytes of the intact file are there as a whole, wherever they are.
  func holds(_ range: Range<Int>) -> Bool { segments.contains { $0.source.contains(range) } }

  /// Whether bytes of the intact file are there at their places.
  func keeps(_ range: Range<Int>) -> Bool {
    segments.contains { $0.source.contains(range) && $0.place == $0.source.lowerBound }
  }
}

extension Range {
  fileprivate func contains(_ other: Range) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }
}
