import QCodec

/// The first 64 bytes of a checkpoint.
struct Header {
  /// Whether tensors may have escapes.
  var allowsEscapes = false
  /// The digest of the base; nil for a file that stands alone.
  var base: Hash128?

  /// What a reader must understand.
  var features: RequiredFeatures {
    var features = RequiredFeatures()
    if allowsEscapes { features.insert(.escapes) }
    if base != nil { features.insert(.baseFile) }
    return features
  }

  /// The header as this version writes it.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.write(contentsOf: Format.magic)
    writer.write(Format.major)
    writer.write(Format.minor)
    writer.write(UInt32(Format.headerSize))
    writer.write(features.rawValue)
    writer.write(zeros: 8)
    writer.write(contentsOf: base?.bytes ?? [UInt8](repeating: 0, count: 16))
    writer.write(zeros: 8)
    writer.write(xxh3(writer.bytes))
    return writer.bytes
  }

  /// The checksum that stands in the last eight bytes.
  var hash: UInt64 { ByteFields(bytes: bytes).read(56) }

  /// What a header says.
  struct Contents {
    let major: UInt16
    let minor: UInt16
    let features: RequiredFeatures
    let hash: UInt64
    let base: Hash128?
  }

  /// Checks the first bytes of a file, all of it if it is short.
  static func check(_ bytes: [UInt8]) throws(QCodecError) -> Contents {
    guard bytes.starts(with: Format.magic) else { throw foreign(bytes) }
    guard bytes.count >= Format.headerSize else {
      throw QCodecError(.truncated, "the file ends within its header", offset: UInt64(bytes.count))
    }
    let fields = ByteFields(bytes: Array(bytes[..<Format.headerSize]))
    let hash: UInt64 = fields.read(56)
    guard hash == xxh3(Array(bytes[..<56])) else {
      throw QCodecError(.headerCorrupt, "the header's checksum is wrong", offset: 56)
    }
    let (major, minor) = (fields.read(8, as: UInt16.self), fields.read(10, as: UInt16.self))
    // Every minor version is read: an older one lacks what a newer one adds, and that is what this reader may ignore or what
    // it refuses by a feature, a reserved field or a code.
    guard major == Format.major else {
      throw QCodecError(
        .unsupportedVersion, "format version \(major).\(minor), this reader knows those of \(Format.major)", offset: 8)
    }
    guard fields.read(12, as: UInt32.self) == UInt32(Format.headerSize) else {
      throw QCodecError(.headerCorrupt, "the header's length is not 64", offset: 12)
    }
    let features = RequiredFeatures(rawValue: fields.read(16))
    guard features.unknown.isEmpty else {
      throw QCodecError(
        .unsupportedFeature,
        "the file requires features that this reader does not know: \(features.unknown.description)", offset: 16)
    }
    for offset in (features.contains(.baseFile) ? 48 : 32)..<56 where bytes[offset] != 0 {
      throw QCodecError(.reservedBits, "a reserved byte of the header is not zero", offset: UInt64(offset))
    }
    return Contents(
      major: major, minor: minor, features: features, hash: hash,
      base: features.contains(.baseFile) ? Hash128(bytes: bytes[32..<48]) : nil)
  }

  private static func foreign(_ bytes: [UInt8]) -> QCodecError {
    if bytes.isEmpty { return QCodecError(.notACheckpoint, "the file is empty", offset: 0) }
    if Format.magic.starts(with: bytes) {
      return QCodecError(.truncated, "the file ends within its magic number", offset: UInt64(bytes.count))
    }
    // The magic number holds CR LF and a lone LF, so that a text-mode copy shows.
    if bytes.starts(with: Format.magic[..<4]) || bytes.starts(with: [0x09, 0x51, 0x43, 0x4B]) {
      return QCodecError(
        .notACheckpoint, "the magic number is damaged, as by a copy in text mode; copy the file again in binary mode",
        offset: 0)
    }
    guard let kind = ForeignFile.identify(bytes) else {
      return QCodecError(.notACheckpoint, "not a qcodec checkpoint", offset: 0)
    }
    return QCodecError(.notACheckpoint, "not a qcodec checkpoint but \(kind.description)", offset: 0)
  }
}
