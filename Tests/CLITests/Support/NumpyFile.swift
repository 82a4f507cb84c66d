/// A .npy file of float32 values.
func npy(_ values: [Float], shape: String) -> [UInt8] {
  let header = Array("{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }\n".utf8)
  return [0x93] + Array("NUMPY".utf8) + [1, 0] + littleEndian(UInt16(header.count)) + header + littleEndian(values)
}

/// A zip archive, its members stored or deflated (in blocks without compression, which any inflater takes).
func zip(_ members: [(name: String, bytes: [UInt8])], deflated: Bool = false, crcError: Bool = false) -> [UInt8] {
  var archive: [UInt8] = []
  var directory: [UInt8] = []
  for (name, bytes) in members {
    let stored = deflated ? deflate(bytes) : bytes
    let crc = crc32(bytes) ^ (crcError ? 1 : 0)
    let common =
      littleEndian(UInt16(20)) + littleEndian(UInt16(0)) + littleEndian(UInt16(deflated ? 8 : 0))
      + littleEndian(UInt32(0)) + littleEndian(crc) + littleEndian(UInt32(stored.count))
      + littleEndian(UInt32(bytes.count)) + littleEndian(UInt16(name.utf8.count)) + littleEndian(UInt16(0))
    directory += littleEndian(UInt32(0x0201_4B50)) + littleEndian(UInt16(20)) + common
    directory += [UInt8](repeating: 0, count: 10) + littleEndian(UInt32(archive.count)) + Array(name.utf8)
    archive += littleEndian(UInt32(0x0403_4B50)) + common + Array(name.utf8) + stored
  }
  let end =
    littleEndian(UInt32(0x0605_4B50)) + littleEndian(UInt32(0)) + littleEndian(UInt16(members.count))
    + littleEndian(UInt16(members.count)) + littleEndian(UInt32(directory.count)) + littleEndian(UInt32(archive.count))
  return archive + directory + end + littleEndian(UInt16(0))
}

private func deflate(_ bytes: [UInt8]) -> [UInt8] {
  var result: [UInt8] = []
  var rest = bytes[...]
  repeat {
    let piece = rest.prefix(0xFFFF)
    rest = rest.dropFirst(piece.count)
    let length = UInt16(piece.count)
    result += [rest.isEmpty ? 1 : 0] + littleEndian(length) + littleEndian(~length) + Array(piece)
  } while !rest.isEmpty
  return result
}

private func crc32(_ bytes: [UInt8]) -> UInt32 {
  ~bytes.reduce(UInt32.max) { crc, byte in
    (0..<8).reduce(crc ^ UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
  }
}
