import QCodec
import Synchronization

/// A .npz archive: a zip of .npy arrays, stored or deflated.
///
/// Opening reads the directory and the arrays' headers. A member's checksum is checked when it is first read (at once if
/// it is no larger than 1 MiB). Stored members are read where they lie; of deflated ones the last one read is kept in
/// memory, whole.
public struct NpzFile: Sendable {
  /// The arrays in the order of the archive's directory, named without their `.npy`.
  public let arrays: [(name: String, dtype: DType, shape: [UInt64], source: any TensorSource)]

  /// Reads and checks directory and headers; throws `io`, and with the byte offset of the defect `invalidNumpy`, or
  /// `notACheckpoint` for a zip archive of another kind.
  public init(input: InputFile) throws(QCodecError) {
    let members = try ZipDirectory(input).members
    let inflated = LastUsed<[UInt8]>()
    var arrays: [(name: String, dtype: DType, shape: [UInt64], source: any TensorSource)] = []
    for (index, member) in members.enumerated() {
      guard member.name.hasSuffix(".npy") else { throw Self.foreign(member) }
      let source = NpzMemberSource(input: input, member: member, index: index, inflated: inflated)
      let name = String(member.name.dropLast(4))
      do throws(QCodecError) {
        let header = try NumpyHeader(start: try source.start(NumpyFile.longestStart), byteCount: member.byteCount)
        if member.byteCount <= 1 << 20 { try source.check() }
        let slice = SourceSlice(source: source, offset: header.dataOffset, byteCount: header.dataBytes)
        arrays.append((name, header.dtype, header.shape, slice))
      } catch {
        throw error.named(name)
      }
    }
    self.arrays = arrays
  }

  /// Reads and checks the archive at `path`; throws as `init(input:)`.
  public init(path: String) throws(QCodecError) {
    try self.init(input: InputFile(path: path))
  }

  private static func foreign(_ member: ZipMember) -> QCodecError {
    return QCodecError(
      .notACheckpoint, "a zip archive that is no .npz: its member '\(member.name)' is no .npy array",
      offset: member.offset)
  }
}

/// The bytes of one member of an .npz archive, its checksum checked before any is given out.
final class NpzMemberSource: TensorSource {
  private static let pieceSize = 1 << 20

  private let stored: FileRangeSource
  private let member: ZipMember
  private let index: Int
  private let inflated: LastUsed<[UInt8]>
  private let isChecked = Mutex(false)

  init(input: InputFile, member: ZipMember, index: Int, inflated: LastUsed<[UInt8]>) {
    stored = FileRangeSource(file: input, offset: member.offset, byteCount: member.storedBytes)
    self.member = member
    self.index = index
    self.inflated = inflated
  }

  var byteCount: UInt64 { member.byteCount }

  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    guard member.isDeflated else {
      try check()
      return try unsafe stored.read(at: offset, into: target)
    }
    let bytes = try inflatedBytes()
    guard offset <= byteCount, UInt64(target.count) <= byteCount - offset else {
      throw QCodecError(.truncated, "the member has \(byteCount) bytes", offset: offset)
    }
    unsafe bytes.withUnsafeBytes { all in
      unsafe target.copyMemory(from: .init(rebasing: all[Int(offset)..<Int(offset) + target.count]))
    }
  }

  /// Up to `limit` bytes from the beginning, not yet checked.
  func start(_ limit: Int) throws(QCodecError) -> [UInt8] {
    let count = Int(min(byteCount, UInt64(limit)))
    return member.isDeflated
      ? try Inflate.bytes(from: stored, count: count, whole: UInt64(count) == byteCount)
      : try stored.bytes(at: 0, count: count)
  }

  /// Checks the checksum, once for a stored member.
  func check() throws(QCodecError) {
    if member.isDeflated {
      _ = try inflatedBytes()
      return
    }
    try isChecked.withLock { isChecked throws(QCodecError) in
      guard !isChecked else { return }
      var crc = CRC32()
      var buffer = [UInt8](repeating: 0, count: Int(min(byteCount, UInt64(Self.pieceSize))))
      var position: UInt64 = 0
      while position < byteCount {
        let count = Int(min(byteCount - position, UInt64(buffer.count)))
        try unsafe buffer.withMutableBytes { bytes throws(QCodecError) in
          let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
          try unsafe stored.read(at: position, into: piece)
          unsafe crc.append(UnsafeRawBufferPointer(piece))
        }
        position += UInt64(count)
      }
      try check(crc)
      isChecked = true
    }
  }

  private func inflatedBytes() throws(QCodecError) -> [UInt8] {
    try inflated.value(for: index) { () throws(QCodecError) in
      let bytes = try Inflate.bytes(from: stored, count: Int(byteCount), whole: true)
      var crc = CRC32()
      unsafe bytes.withUnsafeBytes { unsafe crc.append($0) }
      try check(crc)
      return bytes
    }
  }

  private func check(_ crc: CRC32) throws(QCodecError) {
    guard crc.value == member.crc else {
      throw QCodecError(.invalidNumpy, "the checksum of the member '\(member.name)' is wrong", offset: member.offset)
    }
  }
}
