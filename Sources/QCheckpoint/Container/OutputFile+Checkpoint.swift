import QCodec

extension OutputFile {
  /// Fills up to the next multiple of 64 with zeros.
  func pad() throws(QCodecError) {
    let rest = Int(position % Format.alignment)
    if rest > 0 { try write([UInt8](repeating: 0, count: Int(Format.alignment) - rest)) }
  }

  /// Writes what follows the chunks of a checkpoint and their padding: metadata, directory and trailer.
  func write(metadata: [UInt8], directory: [UInt8], header: Header, tensors: Int) throws(QCodecError) {
    let metadataOffset = position
    try write(metadata)
    try pad()
    let directoryOffset = position
    try write(directory)
    try pad()
    let trailer = Trailer(
      directoryOffset: directoryOffset, directoryLength: UInt64(directory.count), directoryHash: xxh3(directory),
      metadataOffset: metadataOffset, metadataLength: UInt64(metadata.count), metadataHash: xxh3(metadata),
      headerHash: header.hash, fileLength: position + UInt64(Format.trailerSize), tensorCount: UInt64(tensors))
    try write(trailer.bytes)
  }
}
