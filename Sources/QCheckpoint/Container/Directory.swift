import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The directory of a checkpoint: its bytes, which were checked, and what is looked up in them when it is asked for.
///
/// Nothing is unpacked beforehand but map tables and pairs: a file may hold a million tensors of which one is wanted.
final class Directory: Sendable {
  /// Where the sections begin, and what they hold.
  struct Sections: Sendable {
    var tensors = 0
    var dims = 0
    var chunks = 0
    var pairs = 0
    var dimsStart = 0
    var chunksStart = 0
    var pairsStart = 0
    var tablesStart = 0
    var namesStart = 0

    /// The product of dims; nil where it exceeds 64 bits.
    func elementCount(_ fields: ByteFields, _ dims: Range<Int>) -> UInt64? {
      var product: UInt64 = 1
      var (isOverflown, isEmpty) = (false, false)
      for index in dims {
        let length: UInt64 = fields.read(dimsStart + index * 8)
        isEmpty = isEmpty || length == 0
        let (next, overflow) = product.multipliedReportingOverflow(by: length)
        isOverflown = isOverflown || overflow
        product = next
      }
      return isEmpty ? 0 : isOverflown ? nil : product
    }
  }

  let fields: ByteFields
  let sections: Sections
  /// The schemes of the tensors, each once, and which of them each tensor has; negative for lossless tensors.
  let schemes: [StoredScheme]
  let schemeNumbers: [Int32]
  let pairs: [PairRecord]

  init(
    fields: ByteFields, sections: Sections, schemes: [StoredScheme], schemeNumbers: [Int32], pairs: [PairRecord]
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

  func tensor(_ index: Int) -> TensorFields {
    precondition(index >= 0 && index < count, "tensor \(index) of \(count)")
    return TensorFields(fields: fields, at: Format.directoryHeaderSize + index * Format.tensorRecordSize)
  }

  /// The scheme of a tensor; nil for a lossless one.
  func scheme(_ index: Int) -> StoredScheme? {
    let number = Int(schemeNumbers[index])
    return number < 0 ? nil : schemes[number]
  }

  func name(_ index: Int) -> ArraySlice<UInt8> {
    let tensor = tensor(index)
    let start = sections.namesStart + Int(tensor.nameOffset)
    return fields.bytes[start..<start + Int(tensor.nameLength)]
  }

  func shape(_ index: Int) -> [UInt64] {
    let tensor = tensor(index)
    let start = sections.dimsStart + Int(tensor.dimsIndex) * 8
    return (0..<Int(tensor.dimCount)).map { fields.read(start + $0 * 8) }
  }

  func elementCount(_ index: Int) -> UInt64 {
    let tensor = tensor(index)
    let first = Int(tensor.dimsIndex)
    return sections.elementCount(fields, first..<first + Int(tensor.dimCount)) ?? .max
  }

  /// Bytes of a tensor as given, of which the directory was checked.
  func sourceBytes(_ index: Int) -> UInt64 {
    let elements = elementCount(index)
    // Bits beyond 64 were refused.
    return (tensor(index).dtype.map { elements &* UInt64($0.bitWidth) } ?? 0) / 8
  }

  /// All that the directory says of a tensor.
  func record(_ index: Int) -> TensorRecord {
    let tensor = tensor(index)
    guard let dtype = tensor.dtype, let role = tensor.role, let reason = tensor.reason else {
      preconditionFailure("the directory was checked")
    }
    var record = TensorRecord(dtype: dtype, role: role)
    record.reason = reason
    (record.nameOffset, record.nameLength) = (tensor.nameOffset, tensor.nameLength)
    (record.dimsIndex, record.dimCount) = (tensor.dimsIndex, tensor.dimCount)
    (record.firstChunk, record.chunkCount) = (tensor.firstChunk, tensor.chunkCount)
    (record.elementCount, record.sourceBytes) = (elementCount(index), sourceBytes(index))
    record.scheme = scheme(index)?.scheme
    record.tableOffset = tensor.tableOffset
    record.statistics = tensor.statistics
    record.guaranteedRelative = tensor.guaranteedRelative
    record.reference = tensor.reference
    record.stride = tensor.stride
    return record
  }

  /// The chunks that a tensor's record implies; throws `invalidScheme` for what no scheme is.
  func plan(_ index: Int) throws(QCodecError) -> ChunkPlan {
    let bytes = sourceBytes(index)
    guard let scheme = scheme(index)?.scheme, let dtype = tensor(index).dtype else {
      return ChunkPlan(layout: nil, sourceBytes: bytes)
    }
    return ChunkPlan(layout: try TensorLayout(dtype: dtype, shape: shape(index), scheme: scheme), sourceBytes: bytes)
  }

  /// The place of a name by binary search, or nil; O(log tensors) comparisons.
  func find(_ name: String) -> Int? {
    var name = name
    return name.withUTF8 { name in
      var (low, high) = (0, count)
      while low < high {
        let middle = (low + high) / 2
        if unsafe compare(middle, UnsafeRawBufferPointer(name)) < 0 { low = middle + 1 } else { high = middle }
      }
      return unsafe low < count && compare(low, UnsafeRawBufferPointer(name)) == 0 ? low : nil
    }
  }

  /// How the name of a tensor stands to another by the order of bytes: negative before, zero equal, positive after.
  private func compare(_ index: Int, _ other: UnsafeRawBufferPointer) -> Int {
    let tensor = tensor(index)
    let start = sections.namesStart + Int(tensor.nameOffset)
    return unsafe fields.bytes.withUnsafeBytes { bytes in
      unsafe order(UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(tensor.nameLength)]), other)
    }
  }

  // MARK: Chunks

  func chunk(_ index: Int) -> ChunkRecord {
    precondition(index >= 0 && index < chunkCount, "chunk \(index) of \(chunkCount)")
    guard let chunk = ChunkRecord(fields, at: sections.chunksStart + index * Format.chunkRecordSize) else {
      preconditionFailure("the directory was checked")
    }
    return chunk
  }
}

/// What tells the scheme of one tensor from that of another.
struct SchemeKey: Hashable, Sendable {
  /// The eight bytes of the scheme.
  let codes: UInt64
  let table: UInt32
  let seed: UInt64
}

/// A scheme that tensors of a directory have, and what is asked of it again and again.
final class StoredScheme: Sendable {
  let scheme: Scheme
  /// Elements of a block; 0 under other scalings.
  let block: Int
  let isUpdate: Bool
  let isReferable: Bool
  let hasRelativeBound: Bool
  /// Bytes of a custom table's entries, which preambles hold.
  let tableBytes: Int

  init(_ scheme: Scheme) {
    self.scheme = scheme
    block = if case .block(let size) = scheme.scaling { size } else { 0 }
    isUpdate = scheme.domain == .update
    isReferable = scheme.isReferable
    hasRelativeBound = scheme.hasRelativeBound
    tableBytes = scheme.customTable.map { $0.entries.count * 4 } ?? 0
  }
}

/// A tensor's record field by field, where it stands in the directory.
struct TensorFields {
  let fields: ByteFields
  let at: Int

  var nameOffset: UInt64 { fields.read(at) }
  var nameLength: UInt32 { fields.read(at + 8) }
  var dtype: DType? { DType(rawValue: fields.bytes[at + 12]) }
  var role: Role? { Role(rawValue: fields.bytes[at + 13]) }
  var encoding: UInt8 { fields.bytes[at + 14] }
  var dimCount: UInt8 { fields.bytes[at + 15] }
  var dimsIndex: UInt64 { fields.read(at + 16) }
  var firstChunk: UInt64 { fields.read(at + 24) }
  var chunkCount: UInt64 { fields.read(at + 32) }
  var tableOffset: UInt32 { fields.read(at + 48) }
  var reason: FallbackReason? { FallbackReason(rawValue: fields.bytes[at + 52]) }
  var stride: UInt8 { fields.bytes[at + 53] }
  var guaranteedRelative: Double { fields.double(at + 128) }

  var reference: Int? {
    let reference: UInt64 = fields.read(at + 56)
    return reference == Format.noReference ? nil : Int(reference)
  }

  /// What tells the scheme of a quantized tensor from others.
  var schemeKey: SchemeKey {
    SchemeKey(codes: fields.read(at + 40), table: tableOffset, seed: fields.read(at + 64))
  }

  var statistics: TensorStatistics {
    var result = TensorStatistics()
    result.maxAbsError = fields.double(at + 72)
    result.maxScaledError = fields.double(at + 80)
    result.squaredError = fields.double(at + 88)
    result.squaredSource = fields.double(at + 96)
    result.zerosCreated = fields.read(at + 104)
    result.signChanges = fields.read(at + 112)
    result.guaranteedMaxAbsError = fields.double(at + 120)
    return result
  }
}

/// The order of two strings by their bytes: negative, zero or positive.
func order(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Int {
  let shared = min(one.count, other.count)
  if shared > 0, let a = one.baseAddress, let b = other.baseAddress {
    let result = unsafe memcmp(a, b, shared)
    if result != 0 { return Int(result) }
  }
  return one.count - other.count
}
