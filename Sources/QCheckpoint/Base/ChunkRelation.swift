/// What the base has to do with a chunk's payload.
public enum ChunkRelation: UInt8, Sendable, CaseIterable {
  /// Nothing: the stored bytes are the payload after the lossless stage.
  case own
  /// The payload is that of the same chunk of the base; nothing is stored.
  case equal
  /// The stored bytes are the difference to the payload of the base, after the lossless stage.
  case difference
}

/// How stored bytes make a payload, as one byte of a chunk's record and frame says it.
struct ChunkCoding: Equatable, Sendable {
  let stage: Compression
  let relation: ChunkRelation

  /// How many codes there are.
  static let count = 6

  init(stage: Compression, relation: ChunkRelation) { (self.stage, self.relation) = (stage, relation) }

  /// The coding of a code, or nil; a file without a base has the first three alone. A switch, for opening a file asks it of
  /// every chunk.
  @inline(__always)
  init?(code: UInt8) {
    switch code {
    case 0: self.init(stage: .none, relation: .own)
    case 1: self.init(stage: .lz4, relation: .own)
    case 2: self.init(stage: .zstd, relation: .own)
    case 3: self.init(stage: .none, relation: .equal)
    case 4: self.init(stage: .lz4, relation: .difference)
    case 5: self.init(stage: .zstd, relation: .difference)
    default: return nil
    }
  }

  /// The code that files store.
  var code: UInt8 {
    switch relation {
    case .own: stage.rawValue
    case .equal: 3
    case .difference: stage.rawValue + 3
    }
  }

  /// Whether a chunk of a kind can be coded so: scale vectors are never compressed.
  func fits(_ kind: ChunkKind) -> Bool { stage == .none || kind != .scales }

  /// Whether so many stored bytes can stand for a payload of as many as it may have.
  func fits(stored: Int, raw: ClosedRange<Int>) -> Bool {
    stage == .none && relation == .own ? raw.contains(stored) : fits(stored: stored, raw: raw.upperBound)
  }

  /// Whether so many stored bytes can stand for a payload of so many.
  func fits(stored: Int, raw: Int) -> Bool {
    switch relation {
    case .own: stage == .none ? stored == raw : stored < raw
    case .equal: stored == 0
    case .difference: stored < raw
    }
  }
}
