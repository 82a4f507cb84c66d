import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The directory of a checkpoint: its bytes, which were checked in full, and what is taken from them when it is asked for.
///
/// Only map tables, schemes and pairs are unpacked beforehand: a file may hold a million tensors of which one is wanted.
final class Directory: Sendable {
  private let fields: ByteFields
  private let sections: DirectorySections
  /// The schemes of quantized tensors, each once.
  private let schemes: [StoredScheme]
  /// For each tensor the place of its scheme; `Self.lossless` where it has none.
  private let schemeNumbers: [UInt32]
  let pairs: [PairRecord]

  /// The number in the place of a lossless tensor's scheme.
  static let lossless = UInt32.max

  /// A directory of bytes that were checked or just built.
  init(
    fields: ByteFields, sections: DirectorySections, schemes: [StoredScheme], schemeNumbers: [UInt32],
    pairs: [PairRecord]
  ) {
    self.fields = fields
    self.sections = sections
    self.schemes = schemes
    self.schemeNumbers = schemeNumbers
    self.pairs = pairs
  }

  /// Tensors.
  var count: Int { sections.tensors }

  /// Chunks of all tensors.
  var chunkCount: Int { sections.chunks }

  // MARK: Tensors

  /// The fields of a tensor's record.
  @inline(__always)
  func tensor(_ index: Int) -> StoredTensor {
    precondition(index >= 0 && index < count, "no tensor of that number")
    return StoredTensor(fields, at: sections.tensorStart(index))
  }

  /// The scheme of a tensor; nil for a lossless one.
  @inline(__always)
  func scheme(_ index: Int) -> StoredScheme? {
    let number = schemeNumbers[index]
    return number == Self.lossless ? nil : schemes[Int(number)]
  }

  /// All that the directory says of a tensor.
  func record(_ index: Int) -> TensorRecord {
    let stored = tensor(index)
    guard let role = Role(rawValue: stored.roleCode), let reason = FallbackReason(rawValue: stored.reasonCode) else {
      preconditionFailure("a role or reason that no check let pass")
    }
    var record = TensorRecord(dtype: dtype(stored), role: role)
    record.reason = reason
    (record.nameOffset, record.nameLength) = (stored.nameOffset, UInt32(stored.nameLength))
    (record.dimsIndex, record.dimCount) = (stored.dimsIndex, UInt8(stored.dimCount))
    (record.firstChunk, record.chunkCount) = (stored.firstChunk, stored.chunkCount)
    (record.elementCount, record.sourceBytes) = (elementCount(stored), sourceBytes(stored))
    record.scheme = scheme(index)?.scheme
    record.scheme?.seed = stored.seed
    record.tableOffset = stored.tableOffset
    (record.statistics, record.guaranteedRelative) = (stored.statistics, stored.guaranteedRelative)
    (record.reference, record.stride) = (stored.reference, stored.stride)
    return record
  }

  func dtype(_ index: Int) -> DType { dtype(tensor(index)) }

  private func dtype(_ stored: StoredTensor) -> DType {
    guard let dtype = DType(rawValue: stored.dtypeCode) else { preconditionFailure("a dtype that no check let pass") }
    return dtype
  }

  func shape(_ index: Int) -> [UInt64] {
    let stored = tensor(index)
    return (0..<stored.dimCount).map { dim(stored, $0) }
  }

  /// Whether two tensors have the same shape.
  func haveSameShape(_ one: Int, _ other: Int) -> Bool {
    let (one, other) = (tensor(one), tensor(other))
    return one.dimCount == other.dimCount && (0..<one.dimCount).allSatisfy { dim(one, $0) == dim(other, $0) }
  }

  private func dim(_ stored: StoredTensor, _ axis: Int) -> UInt64 {
    fields.read(sections.dimsStart + (Int(stored.dimsIndex) + axis) * 8)
  }

  /// The elements of a tensor, which were counted within 64 bits.
  func elementCount(_ index: Int) -> UInt64 { elementCount(tensor(index)) }

  @inline(__always)
  func elementCount(_ stored: StoredTensor) -> UInt64 { sections.elementCount(fields, stored) ?? .max }

  /// Bytes of a tensor as given.
  func sourceBytes(_ index: Int) -> UInt64 { sourceBytes(tensor(index)) }

  /// The bits were counted within 64 bits too, and fill whole bytes.
  @inline(__always)
  func sourceBytes(_ stored: StoredTensor) -> UInt64 {
    elementCount(stored) &* UInt64(dtype(stored).bitWidth) / 8
  }

  /// The chunks of a quantized tensor; nil where `plan` throws, or makes another scheme of its own.
  @inline(__always)
  func sizes(_ stored: StoredTensor, _ scheme: StoredScheme) -> StoredScheme.ChunkSizes? {
    let elements = elementCount(stored)
    let start = sections.dimsStart + Int(stored.dimsIndex) * 8
    return unsafe fields.withBytes(start..<start + stored.dimCount * 8) { dims in
      // Safe: dims are whole words, as files store them, at a multiple of 8 of an array's memory.
      let shape = unsafe Span(_unsafeElements: dims.bindMemory(to: UInt64.self))
      return scheme.sizes(shape: shape, elements: elements, seed: stored.seed)
    }
  }

  /// The chunks that a tensor's record implies; throws `unsupportedScheme` for what no scheme is.
  func plan(_ index: Int) throws(QCodecError) -> ChunkPlan {
    let stored = tensor(index)
    let bytes = sourceBytes(stored)
    guard var scheme = scheme(index)?.scheme else { return ChunkPlan(layout: nil, sourceBytes: bytes) }
    scheme.seed = stored.seed
    let layout = try TensorLayout(dtype: dtype(stored), shape: shape(index), scheme: scheme)
    return ChunkPlan(layout: layout, sourceBytes: bytes)
  }

  // MARK: Names

  func name(_ index: Int) -> ArraySlice<UInt8> { fields.bytes[nameRange(tensor(index))] }

  private func nameRange(_ stored: StoredTensor) -> Range<Int> {
    let start = sections.namesStart + Int(stored.nameOffset)
    return start..<start + stored.nameLength
  }

  /// The number of the tensor of a name by binary search, or nil; O(log tensors) comparisons.
  func find(_ name: String) -> Int? {
    var name = name
    return name.withUTF8 { wanted in
      let wanted = UnsafeRawBufferPointer(wanted)
      var (low, high) = (0, count)
      while low < high {
        let middle = low + (high - low) / 2
        let order = unsafe fields.withBytes(nameRange(tensor(middle))) { unsafe byteOrder($0, wanted) }
        if order == 0 { return middle }
        if order < 0 { low = middle + 1 } else { high = middle }
      }
      return nil
    }
  }

  // MARK: Chunks

  /// The same directory with stored bytes of some chunks at other places, by their places in the chunk table.
  func moving(_ places: [Int: UInt64]) -> Directory {
    var bytes = fields.bytes
    for (index, offset) in places {
      // The first field of a chunk's record.
      let start = sections.chunkStart(index)
      for byte in 0..<8 { bytes[start + byte] = UInt8(truncatingIfNeeded: offset >> UInt64(8 * byte)) }
    }
    return Directory(
      fields: ByteFields(bytes: bytes), sections: sections, schemes: schemes, schemeNumbers: schemeNumbers, pairs: pairs
    )
  }

  /// The directory's bytes with other chunk records in the place of its own.
  func bytes(with chunks: [ChunkRecord]) -> [UInt8] {
    precondition(chunks.count == chunkCount, "a record for each chunk")
    var records = ByteWriter(capacity: chunks.count * Format.chunkRecordSize)
    for chunk in chunks { chunk.write(to: &records) }
    var result = fields.bytes
    result.replaceSubrange(sections.chunksStart..<sections.pairsStart, with: records.bytes)
    return result
  }

  @inline(__always)
  func storedChunk(_ index: Int) -> StoredChunk {
    precondition(index >= 0 && index < chunkCount, "no chunk of that number")
    return StoredChunk(fields, at: sections.chunkStart(index))
  }

  func chunk(_ index: Int) -> ChunkRecord {
    let stored = storedChunk(index)
    guard let coding = ChunkCoding(code: stored.compressionCode),
      let kind = ChunkKind(rawValue: stored.kindCode)
    else { preconditionFailure("a compression or kind that no check let pass") }
    return ChunkRecord(
      offset: stored.offset, storedLength: stored.storedLength, rawLength: stored.rawLength, hash: stored.hash,
      compression: coding.stage, kind: kind, tensor: stored.tensor, relation: coding.relation)
  }
}

extension DirectorySections {
  /// The elements of a tensor whose dims are there; nil where they exceed 64 bits.
  @inline(__always)
  func elementCount(_ fields: ByteFields, _ stored: StoredTensor) -> UInt64? {
    var product: UInt64 = 1
    var (isTooMany, isEmpty) = (false, false)
    let start = dimsStart + Int(stored.dimsIndex) * 8
    for axis in 0..<stored.dimCount {
      let length: UInt64 = fields.read(start + axis * 8)
      let (next, overflow) = product.multipliedReportingOverflow(by: length)
      product = next
      isTooMany = isTooMany || overflow
      isEmpty = isEmpty || length == 0
    }
    // With a length of 0 there are none, whatever the others are.
    return isEmpty ? 0 : isTooMany ? nil : product
  }
}

/// How two strings stand by their bytes: negative if the first comes before, 0 if they are equal.
func byteOrder(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Int {
  if let a = one.baseAddress, let b = other.baseAddress {
    let order = unsafe memcmp(a, b, min(one.count, other.count))
    if order != 0 { return Int(order) }
  }
  return one.count - other.count
}
