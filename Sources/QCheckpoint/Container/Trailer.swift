import QCodec

/// The last 96 bytes of a checkpoint: where everything is, and its checksums.
struct Trailer {
  var directoryOffset: UInt64
  var directoryLength: UInt64
  var directoryHash: UInt64
  var metadataOffset: UInt64
  var metadataLength: UInt64
  var metadataHash: UInt64
  var headerHash: UInt64
  var fileLength: UInt64
  var tensorCount: UInt64

  /// The trailer as stored.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    for field in [
      directoryOffset, directoryLength, directoryHash, metadataOffset, metadataLength, metadataHash, headerHash,
      fileLength, tensorCount, 0,
    ] { writer.write(field) }
    writer.write(contentsOf: Format.endMagic)
    writer.write(xxh3(writer.bytes))
    return writer.bytes
  }

  /// Reads the last 96 bytes of a file of `fileLength` bytes; checks all that follows from them alone.
  init(_ bytes: [UInt8], headerHash: UInt64, fileLength: UInt64) throws(QCodecError) {
    let start = fileLength - UInt64(Format.trailerSize)
    guard Array(bytes[80..<88]) == Format.endMagic else {
      throw QCodecError(
        .truncated,
        "no trailer at the end of the file's \(fileLength) bytes: it was cut short or is still being written",
        offset: start)
    }
    let fields = ByteFields(bytes: bytes)
    guard fields.read(88, as: UInt64.self) == xxh3(Array(bytes[..<88])) else {
      throw QCodecError(.trailerCorrupt, "the trailer's checksum is wrong", offset: start + 88)
    }
    directoryOffset = fields.read(0)
    directoryLength = fields.read(8)
    directoryHash = fields.read(16)
    metadataOffset = fields.read(24)
    metadataLength = fields.read(32)
    metadataHash = fields.read(40)
    self.headerHash = fields.read(48)
    self.fileLength = fields.read(56)
    tensorCount = fields.read(64)
    guard self.fileLength == fileLength else {
      throw QCodecError(
        self.fileLength > fileLength ? .truncated : .trailerCorrupt,
        "the trailer tells of \(self.fileLength) bytes, the file has \(fileLength)", offset: start + 56)
    }
    guard self.headerHash == headerHash else {
      throw QCodecError(.headerCorrupt, "header and trailer disagree on the header's checksum", offset: start + 48)
    }
    guard fields.read(72, as: UInt64.self) == 0 else {
      throw QCodecError(.reservedBits, "a reserved field of the trailer is not zero", offset: start + 72)
    }
    try checkPlaces(trailerStart: start)
  }

  init(
    directoryOffset: UInt64, directoryLength: UInt64, directoryHash: UInt64, metadataOffset: UInt64,
    metadataLength: UInt64, metadataHash: UInt64, headerHash: UInt64, fileLength: UInt64, tensorCount: UInt64
  ) {
    self.directoryOffset = directoryOffset
    self.directoryLength = directoryLength
    self.directoryHash = directoryHash
    self.metadataOffset = metadataOffset
    self.metadataLength = metadataLength
    self.metadataHash = metadataHash
    self.headerHash = headerHash
    self.fileLength = fileLength
    self.tensorCount = tensorCount
  }

  /// A stand-in for the trailer of a file that has lost its own.
  init(salvagedFrom fileLength: UInt64, tensorCount: UInt64) {
    self.init(
      directoryOffset: 0, directoryLength: 0, directoryHash: 0, metadataOffset: 0, metadataLength: 0,
      metadataHash: xxh3([]), headerHash: 0, fileLength: fileLength, tensorCount: tensorCount)
  }

  private func checkPlaces(trailerStart start: UInt64) throws(QCodecError) {
    guard metadataLength <= Format.maximumMetadata else {
      throw QCodecError(.limitExceeded, "metadata of \(metadataLength) bytes, 256 MiB at most", offset: start + 32)
    }
    guard tensorCount <= Format.maximumTensors else {
      throw QCodecError(.limitExceeded, "\(tensorCount) tensors, 2^32 at most", offset: start + 64)
    }
    guard metadataOffset % Format.alignment == 0, metadataOffset >= UInt64(Format.headerSize), metadataOffset <= start
    else { throw QCodecError(.trailerCorrupt, "metadata cannot be at byte \(metadataOffset)", offset: start + 24) }
    guard Format.aligned(metadataOffset + metadataLength) == directoryOffset else {
      throw QCodecError(.trailerCorrupt, "the directory does not follow the metadata", offset: start)
    }
    let (end, overflow) = directoryOffset.addingReportingOverflow(directoryLength)
    guard !overflow, end <= start, Format.aligned(end) == start else {
      throw QCodecError(.trailerCorrupt, "the trailer does not follow the directory", offset: start + 8)
    }
  }
}
