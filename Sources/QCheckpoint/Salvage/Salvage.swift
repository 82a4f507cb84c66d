import QCodec

/// What can still be read of a checkpoint whose directory is missing or damaged, found by what stands before each chunk.
///
/// A file cut short, by a full disk or a broken download, keeps every tensor whose chunks lie before the cut. Statistics,
/// guarantees, roles and metadata stand in the directory and are lost with it.
public struct Salvage: Sendable {
  /// One tensor of which a chunk was found.
  public struct Tensor: Sendable {
    /// Its name, as its preamble gives it.
    public let name: String
    /// The type of its elements.
    public let dtype: DType
    /// The lengths of its axes, C order.
    public let shape: [UInt64]
    /// nil for lossless tensors.
    public let scheme: Scheme?
    /// The elements, in C order, that are lost; none for a whole tensor.
    public let lost: [Range<UInt64>]
    /// The indices of the first axis of which an element is lost; none for a scalar, which `lost` tells alone.
    public var lostRows: [Range<UInt64>] { TensorRows.holding(lost, shape: shape) }

    /// Whether every element can be read.
    public var isWhole: Bool { lost.isEmpty }
  }

  /// The tensors in the order of the file.
  public let tensors: [Tensor]
  /// A reader of the whole tensors, numbered in the order of their names.
  public let reader: CheckpointReader

  /// Scans a file; O(bytes).
  ///
  /// - Parameters:
  ///   - source: the file.
  ///   - bases: checkpoints that may be its base, whose place is lost with the metadata. Without the one that the header
  ///     means, or with a header that is damaged, chunks that need a base are lost.
  ///
  /// Throws `notACheckpoint` for anything else, with what it is, and as opening does for a header of another version or
  /// with unknown features; a header that is damaged is passed over.
  public init(source: any TensorSource, bases: [CheckpointReader] = []) throws(QCodecError) {
    try self.init(source: source, file: nil, bases: bases)
  }

  /// Scans an open file; throws as `init(source:bases:)`.
  public init(file: InputFile, bases: [CheckpointReader] = []) throws(QCodecError) {
    try self.init(source: FileRangeSource(file: file, offset: 0, byteCount: file.byteCount), file: file, bases: bases)
  }

  /// `passesOverHeader` lets a damaged magic number pass too, if tensors are found behind it.
  init(
    source: any TensorSource, file: InputFile?, bases: [CheckpointReader], passesOverHeader: Bool = false
  ) throws(QCodecError) {
    let start = try source.bytes(at: 0, count: Int(min(source.byteCount, 256)))
    var foreign: QCodecError?
    var base: CheckpointReader?
    do throws(QCodecError) {
      let digest = try Header.check(start).base
      base = digest.flatMap { digest in bases.first { $0.digest == digest } }
    } catch {
      // A damaged header takes nothing from the chunks; one that is whole tells what they are.
      if error.code == .notACheckpoint, passesOverHeader { foreign = error }
      guard error.code == .headerCorrupt || foreign != nil else { throw error }
    }
    let scan = try SalvageScan.run(source, base: base)
    if let foreign, scan.tensors.isEmpty { throw foreign }
    tensors = scan.tensors.map { $0.description(lost: scan.lost(of: $0)) }
    reader = CheckpointReader(salvaged: scan, source: source, file: file, base: base)
  }
}

/// The pass over the file.
struct SalvageScan {
  /// A tensor and its chunks so far.
  struct Found {
    let preamble: Preamble
    let plan: ChunkPlan
    /// What frames call it.
    let ordinal: UInt32
    /// By index; nil for those not found or damaged.
    var chunks: [Int: ChunkRecord] = [:]
    /// The index of the frame that is to come.
    var next: UInt32 = 0
    /// How many tensors had begun when its last frame came.
    var end: Int?
  }

  private var cursor: SalvageCursor
  /// The base, without which chunks that need it are lost.
  private let base: CheckpointReader?
  private(set) var tensors: [Found] = []
  /// Where in `tensors` the tensor of a frame's number is.
  fileprivate var places: [UInt32: Int] = [:]
  /// The number of the first tensor that refers to a second moment, by the latter's number.
  fileprivate var referrers: [UInt32: UInt32] = [:]
  /// The number of the tensor that begins next, where nothing was lost before it.
  private var nextNumber: UInt32? = 0
  /// Where the stored bytes of the chunk before begin, if they are damaged: its length may be wrong as well.
  private var doubtful: UInt64?

  private init(_ source: any TensorSource, base: CheckpointReader?) {
    cursor = SalvageCursor(source)
    self.base = base
  }

  /// Scans a file; throws `cancelled` alone.
  static func run(_ source: any TensorSource, base: CheckpointReader? = nil) throws(QCodecError) -> SalvageScan {
    var scan = SalvageScan(source, base: base)
    var position = UInt64(Format.headerSize)
    while position < source.byteCount {
      try Cancellation.check()
      if let end = scan.chunk(after: position) {
        position = end
      } else {
        // Beyond what was just found to be of no use.
        guard let next = try scan.nextPreamble(from: (scan.lastSafe(position) + 15) & ~7) else { break }
        position = next
      }
    }
    // What could not be read because the scan was to stop is not damaged.
    try Cancellation.check()
    return scan
  }

  /// Gives up the order of chunks; where to look for it again, having come to nothing at `position`.
  private mutating func lastSafe(_ position: UInt64) -> UInt64 {
    defer { (nextNumber, doubtful) = (nil, nil) }
    guard let doubtful, cursor.mayRepeat(position - doubtful) else { return position }
    return doubtful
  }

  /// The next multiple of 8 at which a preamble with its frame stands.
  private mutating func nextPreamble(from start: UInt64) throws(QCodecError) -> UInt64? {
    var offset = start
    while offset < cursor.source.byteCount {
      if offset & 0xFFFF == 0 {
        try Cancellation.check()
        // Nothing stands in zeros that no one wrote: a sparse file costs what it holds, not what it pretends to be.
        offset = max(offset, cursor.source.nextData(from: offset) & ~7)
      }
      if let (_, length) = cursor.preamble(at: offset),
        cursor.frame(before: Lead.storedOffset(after: offset, preambleLength: length))?.index == 0
      {
        return offset
      }
      offset += 8
    }
    return nil
  }

  /// Takes in the chunk that follows `position`; its end, or nil where none follows.
  private mutating func chunk(after position: UInt64) -> UInt64? {
    if let (preamble, length) = cursor.preamble(at: (position + 7) & ~7) {
      let offset = Lead.storedOffset(after: position, preambleLength: length)
      guard var frame = cursor.frame(before: offset), frame.index == 0, let plan = Self.plan(of: preamble),
        plan.count > 0
      else { return nil }
      // A frame has no checksum of its own; where every tensor before was seen, its number is known.
      frame.tensor = nextNumber ?? frame.tensor
      guard places[frame.tensor] == nil else { return nil }
      nextNumber = frame.tensor &+ 1
      places[frame.tensor] = tensors.count
      tensors.append(Found(preamble: preamble, plan: plan, ordinal: frame.tensor))
      if let second = preamble.reference, referrers[second] == nil { referrers[second] = frame.tensor }
      return take(frame, at: offset)
    }
    let offset = Lead.storedOffset(after: position, preambleLength: 0)
    return cursor.frame(before: offset).flatMap { take($0, at: offset) }
  }

  private static func plan(of preamble: Preamble) -> ChunkPlan? {
    guard let elements = try? TensorLayout.elementCount(of: preamble.shape),
      let bytes = try? preamble.dtype.byteCount(elements: elements), bytes < Format.maximumFile
    else { return nil }
    guard let scheme = preamble.scheme else { return ChunkPlan(layout: nil, sourceBytes: bytes) }
    guard let layout = try? TensorLayout(dtype: preamble.dtype, shape: preamble.shape, scheme: scheme) else {
      return nil
    }
    return ChunkPlan(layout: layout, sourceBytes: bytes)
  }

  /// Takes in a chunk if it is what its tensor has at that place; the end of its bytes, whole or damaged.
  ///
  /// A chunk that its checksum vouches for is passed by where no tensor is known to own it.
  private mutating func take(_ frame: ChunkFrame, at offset: UInt64) -> UInt64? {
    guard frame.storedLength <= Format.longestPayload,
      let stored = cursor.bytes(at: offset, count: Int(frame.storedLength))
    else { return nil }
    // A chunk that is the base's has no bytes, and the checksum of its payload.
    let isSound = frame.relation == .equal || xxh3(Array(stored)) == frame.hash
    let end = offset + UInt64(frame.storedLength)
    guard let place = place(of: frame) else {
      nextNumber = nil
      return isSound && doubtful == nil ? end : nil
    }
    // What needs a base that is not at hand is passed by, and lost.
    let rawLength = isSound ? rawLength(of: frame, Array(stored), tensors[place]) : nil
    doubtful = isSound && (rawLength != nil || isWithoutBase(frame)) ? nil : offset
    if frame.index == tensors[place].next {
      tensors[place].next += 1
      if UInt64(tensors[place].next) == tensors[place].plan.count { tensors[place].end = tensors.count }
      if let rawLength {
        tensors[place].chunks[Int(frame.index)] = ChunkRecord(
          offset: offset, storedLength: frame.storedLength, rawLength: UInt32(rawLength), hash: frame.hash,
          compression: frame.compression, kind: frame.kind, tensor: 0, relation: frame.relation)
      }
    } else if frame.index &+ 1 == tensors[place].next, tensors[place].chunks[Int(frame.index)]?.hash != frame.hash {
      // Two claim to be the same chunk, and are not: one of the frames is damaged.
      tensors[place].chunks[Int(frame.index)] = nil
    }
    return end
  }

  /// The tensor that a frame's chunk belongs to, if it has such a chunk at that place.
  private func place(of frame: ChunkFrame) -> Int? {
    guard let place = places[frame.tensor], UInt64(frame.index) < tensors[place].plan.count else { return nil }
    // What had all its chunks when another began gets no more, whatever a damaged number says.
    if let end = tensors[place].end, end < tensors.count { return nil }
    let (kind, rawLengths) = tensors[place].plan.chunk(Int(frame.index))
    let coding = ChunkCoding(stage: frame.compression, relation: frame.relation)
    guard frame.kind == kind, coding.fits(kind), coding.fits(stored: Int(frame.storedLength), raw: rawLengths) else {
      return nil
    }
    return place
  }

  private func isWithoutBase(_ frame: ChunkFrame) -> Bool { frame.relation != .own && base == nil }

  /// The bytes of a chunk before the lossless stage, which no frame tells: where they may be of several numbers, as many
  /// as the stored ones decompress to, or as the base has. nil for a number that the chunk cannot have, and without the base
  /// for a chunk that needs it.
  private func rawLength(of frame: ChunkFrame, _ stored: [UInt8], _ tensor: Found) -> Int? {
    guard !isWithoutBase(frame) else { return nil }
    let lengths = tensor.plan.chunk(Int(frame.index)).rawLengths
    if lengths.count == 1 { return lengths.lowerBound }
    if frame.relation == .equal { return base?.rawLength(ofChunk: Int(frame.index), of: tensor.preamble.name) }
    guard frame.compression != .none else { return stored.count }
    let found = frame.compression.decompressedByteCount(stored, atMost: lengths.upperBound)
    return found.flatMap { lengths.contains($0) && $0 > stored.count ? $0 : nil }
  }
}

extension SalvageScan {
  /// The second moment that a tensor of the update domain refers to, or nil where it was not found, is none, or is another
  /// tensor's.
  func second(of tensor: Found) -> Found? {
    guard let reference = tensor.preamble.reference, let place = places[reference],
      referrers[reference] == tensor.ordinal
    else { return nil }
    let second = tensors[place]
    return second.preamble.scheme?.isReferable == true && second.preamble.shape == tensor.preamble.shape ? second : nil
  }

  /// The elements of a tensor that are lost, with those of its second moment.
  func lost(of tensor: Found) -> [Range<UInt64>] {
    guard tensor.preamble.scheme?.domain == .update else { return tensor.lost }
    guard let second = second(of: tensor) else { return [0..<tensor.elements] }
    return TensorRows.joined(tensor.lost + second.lost)
  }
}

extension SalvageScan.Found {
  var elements: UInt64 { (try? TensorLayout.elementCount(of: preamble.shape)) ?? 0 }

  /// What is told of the tensor.
  func description(lost: [Range<UInt64>]) -> Salvage.Tensor {
    Salvage.Tensor(
      name: String(decoding: preamble.name, as: UTF8.self), dtype: preamble.dtype, shape: preamble.shape,
      scheme: preamble.scheme, lost: lost)
  }

  /// The elements of chunks that are missing, neighbours joined; all of them where scales are.
  ///
  /// Goes by the chunks found: a shape may promise more than anyone can count.
  fileprivate var lost: [Range<UInt64>] {
    guard UInt64(chunks.count) < plan.count else { return [] }
    guard (0..<plan.scaleChunks).allSatisfy({ chunks[$0] != nil }) else { return [0..<elements] }
    var result: [Range<UInt64>] = []
    var next = 0
    for index in chunks.keys.sorted() + [Int(plan.count)] where index >= plan.scaleChunks {
      let data = index - plan.scaleChunks
      if data > next {
        let first = self.elements(ofDataChunk: next, of: elements).lowerBound
        result.append(first..<self.elements(ofDataChunk: data - 1, of: elements).upperBound)
      }
      next = data + 1
    }
    return result
  }

  private func elements(ofDataChunk index: Int, of count: UInt64) -> Range<UInt64> {
    TensorContents.elements(
      ofDataChunk: index, dtype: preamble.dtype, isQuantized: plan.layout != nil, count: count)
  }
}
