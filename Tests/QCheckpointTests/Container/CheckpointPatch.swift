import QCodec
import Testing

@testable import QCheckpoint

/// A checkpoint taken apart, so that a test can change a part and make every checksum right again.
///
/// All that the tests of this folder know of places within a file stands here.
struct CheckpointPatch {
  /// Header, chunks and metadata with what is between them.
  var body: [UInt8]
  var directory: [UInt8]
  var trailer: Trailer

  init(_ file: [UInt8]) throws {
    let header = try Header.check(file)
    trailer = try Trailer(
      Array(file.suffix(Format.trailerSize)), headerHash: header.hash, fileLength: UInt64(file.count))
    let start = Int(trailer.directoryOffset)
    body = Array(file[..<start])
    directory = Array(file[start..<start + Int(trailer.directoryLength)])
  }

  /// The file, its checksums and lengths those of its parts as they are now.
  func sealed(_ change: (inout Trailer) -> Void = { _ in }) -> [UInt8] {
    var trailer = trailer
    trailer.directoryLength = UInt64(directory.count)
    trailer.directoryHash = xxh3(directory)
    trailer.metadataHash = xxh3(Array(body[metadataRange]))
    trailer.fileLength = UInt64((body.count + directory.count + 63) / 64 * 64 + Format.trailerSize)
    change(&trailer)
    return assembled(trailer.bytes)
  }

  /// The file with a trailer of its own; only the trailer's checksum is made right.
  func sealed(trailerByte offset: Int, _ value: UInt8) -> [UInt8] {
    var bytes = trailer.bytes
    bytes[offset] = value
    return assembled(Array(bytes[..<88]) + littleEndian(xxh3(Array(bytes[..<88]))))
  }

  private func assembled(_ trailer: [UInt8]) -> [UInt8] {
    let padding = [UInt8](repeating: 0, count: (64 - (body.count + directory.count) % 64) % 64)
    return body + directory + padding + trailer
  }

  var metadataRange: Range<Int> {
    Int(trailer.metadataOffset)..<Int(trailer.metadataOffset) + Int(trailer.metadataLength)
  }
}

// MARK: - Header

extension CheckpointPatch {
  enum HeaderField {
    static let major = 8
    static let minor = 10
    static let length = 12
    static let required = 16
    static let optional = 24
    static let reserved = 32..<56
  }

  /// The file with a changed byte of the header, whose checksum header and trailer agree on.
  func sealed(headerByte offset: Int, _ value: UInt8) -> [UInt8] {
    var copy = self
    copy.body[offset] = value
    let hash = xxh3(Array(copy.body[..<56]))
    copy.body.replaceSubrange(56..<64, with: littleEndian(hash))
    return copy.sealed { $0.headerHash = hash }
  }
}

// MARK: - Directory

extension CheckpointPatch {
  /// The fields at the head of a directory, eight bytes each.
  enum Count: Int, CaseIterable {
    case tensors = 0
    case chunks = 8
    case dims = 16
    case tableBytes = 24
    case nameBytes = 32
    case pairs = 40
  }
  static let reservedOfDirectory = 48..<64

  func count(_ field: Count) -> Int { Int(wideCount(field)) }

  /// A count that may be an attack's.
  func wideCount(_ field: Count) -> UInt64 { ByteFields(bytes: directory).read(field.rawValue) }

  mutating func set(_ field: Count, _ value: UInt64) { set(directoryAt: field.rawValue, value) }

  mutating func set(directoryAt offset: Int, _ value: some FixedWidthInteger) {
    let bytes = littleEndian(value)
    directory.replaceSubrange(offset..<offset + bytes.count, with: bytes)
  }

  // Sections, in the order of the file.
  func record(_ tensor: Int) -> Int { Format.directoryHeaderSize + tensor * Format.tensorRecordSize }
  var dims: Int { record(count(.tensors)) }
  func chunk(_ index: Int) -> Int { dims + count(.dims) * 8 + index * Format.chunkRecordSize }
  var pairs: Int { chunk(count(.chunks)) }
  func pair(_ index: Int) -> Int { pairs + index * Format.pairRecordSize }
  var tables: Int { pair(count(.pairs)) }
  var names: Int { tables + count(.tableBytes) }
}

extension CheckpointPatch {
  /// Whether a byte of the directory may have another value in a file that is still good: a role, a reason, the scale
  /// rule of a custom table, a recorded error or guarantee, a name.
  func isFree(_ at: Int) -> Bool {
    guard at < names else { return true }
    guard (record(0)..<dims).contains(at) else { return false }
    let field = (at - record(0)) % Format.tensorRecordSize
    return [RecordField.role, RecordField.reason, RecordField.scaleRule].contains(field)
      || (RecordField.maxAbsError..<RecordField.relative + 8).contains(field)
  }
}

/// Where fields of a tensor's record stand.
enum RecordField {
  /// The place of a field: the first byte that changing it changes; the change concerns the field's lowest byte.
  static func offset(_ change: (inout TensorRecord) -> Void) -> Int {
    var record = TensorRecord(dtype: .f32)
    record.scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32))
    let before = bytes(record)
    change(&record)
    let after = bytes(record)
    return before.indices.first { before[$0] != after[$0] } ?? -1
  }

  private static func bytes(_ record: TensorRecord) -> [UInt8] {
    var writer = ByteWriter()
    record.write(to: &writer)
    return writer.bytes
  }

  static let nameOffset = offset { $0.nameOffset = 1 }
  static let nameLength = offset { $0.nameLength = 1 }
  static let dtype = offset { $0.dtype = .f64 }
  static let role = offset { $0.role = .momentum }
  static let encoding = role + 1
  static let dimCount = offset { $0.dimCount = 1 }
  static let dimsIndex = offset { $0.dimsIndex = 1 }
  static let firstChunk = offset { $0.firstChunk = 1 }
  static let chunkCount = offset { $0.chunkCount = 1 }
  static let map = offset { $0.scheme?.map = .linear }
  static let bits = offset { $0.scheme?.bits = 4 }
  static let signed = offset { $0.scheme?.signed = false }
  static let scaling = offset { $0.scheme?.scaling = .tensor }
  static let block = offset { $0.scheme?.scaling = .block(64) }
  static let domain = offset { $0.scheme?.domain = .update }
  static let rounding = offset { $0.scheme?.rounding = .stochastic }
  static let scaleRule = offset { $0.scheme?.scaleRule = .absmax }
  static let seed = offset { $0.scheme?.seed = 1 }
  static let tableOffset = offset { $0.tableOffset = 0 }
  static let reason = offset { $0.reason = .negative }
  static let stride = reason + 1
  static let reserved = stride + 1
  static let reference = reserved + 2
  static let maxAbsError = offset { $0.statistics.maxAbsError = Double(bitPattern: 1) }
  static let maxScaledError = offset { $0.statistics.maxScaledError = Double(bitPattern: 1) }
  static let squaredError = offset { $0.statistics.squaredError = Double(bitPattern: 1) }
  static let squaredSource = offset { $0.statistics.squaredSource = Double(bitPattern: 1) }
  static let zerosCreated = offset { $0.statistics.zerosCreated = 1 }
  static let signChanges = offset { $0.statistics.signChanges = 1 }
  static let guarantee = offset { $0.statistics.guaranteedMaxAbsError = Double(bitPattern: 1) }
  static let relative = offset { $0.guaranteedRelative = Double(bitPattern: 1) }
}

/// Where fields of a chunk's record stand.
enum ChunkField {
  static let offset = 0
  static let storedLength = 8
  static let rawLength = 12
  static let hash = 16
  static let compression = 24
  static let kind = 25
  static let reserved = 26
  static let tensor = 28
}

/// Where fields of a map table stand.
enum TableField {
  static let map = 0
  static let bits = 1
  static let signed = 2
  static let flags = 3
  static let count = 4
  static let digest = 8
  static let entries = 16
}

// MARK: - Chunks

extension CheckpointPatch {
  /// Overwrites bytes of a chunk, from `offset` of its stored bytes on, and makes its checksum right.
  mutating func overwrite(chunk index: Int, at offset: Int, _ bytes: [UInt8]) {
    let fields = ByteFields(bytes: directory)
    let start = Int(fields.read(chunk(index) + ChunkField.offset, as: UInt64.self))
    let length = Int(fields.read(chunk(index) + ChunkField.storedLength, as: UInt32.self))
    body.replaceSubrange(start + offset..<start + offset + bytes.count, with: bytes)
    set(directoryAt: chunk(index) + ChunkField.hash, xxh3(Array(body[start..<start + length])))
  }

  /// Replaces the stored bytes of the file's last chunk by others that take as many units of 64 bytes.
  mutating func replaceLastChunk(_ bytes: [UInt8]) {
    let index = count(.chunks) - 1
    let start = Int(ByteFields(bytes: directory).read(chunk(index) + ChunkField.offset, as: UInt64.self))
    let room = Int(trailer.metadataOffset) - start
    precondition(bytes.count <= room && bytes.count > room - 64, "\(bytes.count) bytes in the place of \(room)")
    body.replaceSubrange(start..<start + room, with: bytes + [UInt8](repeating: 0, count: room - bytes.count))
    set(directoryAt: chunk(index) + ChunkField.storedLength, UInt32(bytes.count))
    set(directoryAt: chunk(index) + ChunkField.hash, xxh3(bytes))
  }
}

// MARK: - Damage

extension CheckpointPatch {
  /// The error that a changed byte of an unsealed file is to give, by the part of the file that it stands in.
  func codes() throws -> [QCodecError.Code] {
    let file = sealed()
    let reader = try opened(file)
    // What is in no part is between two of them.
    var codes = [QCodecError.Code](repeating: .paddingNotZero, count: file.count)
    func mark(_ range: Range<Int>, _ code: QCodecError.Code) { for at in range { codes[at] = code } }
    mark(0..<Format.magic.count, .notACheckpoint)
    mark(Format.magic.count..<Format.headerSize, .headerCorrupt)
    var end = Format.headerSize
    for index in 0..<reader.chunkCount {
      let chunk = reader.chunk(index)
      mark(end..<Int(chunk.offset), .leadCorrupt)
      end = Int(chunk.offset) + chunk.storedLength
      mark(Int(chunk.offset)..<end, .chunkCorrupt)
    }
    mark(metadataRange, .metadataCorrupt)
    mark(body.count..<body.count + directory.count, .directoryCorrupt)
    mark(file.count - Format.trailerSize..<file.count, .trailerCorrupt)
    // Without the mark at the end there is no trailer.
    mark(file.count - 16..<file.count - 8, .truncated)
    return codes
  }
}

extension CheckpointPatch {
  /// Expects that a change of any byte of the directory, checksums made right, is a typed error, or makes a file that can
  /// be used where the byte is free.
  func expectEveryByteIsChecked(isFree: (Int) -> Bool) {
    for at in directory.indices {
      for mask in [UInt8(1), 0x80, 0xFF] {
        var patch = self
        patch.directory[at] ^= mask
        do throws(QCodecError) {
          let reader = try opened(patch.sealed())
          try reader.checkAllBytes(threads: 1)
          _ = try reader.everything()
          #expect(isFree(at), "byte \(at) xor \(mask) makes no difference")
        } catch {
          #expect(error.offset != nil, "byte \(at) xor \(mask): \(error)")
        }
      }
    }
  }
}
