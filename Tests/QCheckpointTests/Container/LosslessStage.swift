import QCodec

@testable import QCheckpoint

extension Compression {
  /// The compressed form of an array, or nil where it is not worthwhile.
  func compressed(_ bytes: [UInt8], level: Int32 = 1) throws(QCodecError) -> [UInt8]? {
    var target = [UInt8](repeating: 0, count: bound(bytes.count))
    let count = try unsafe bytes.withBytes { source throws(QCodecError) in
      try unsafe target.withMutableBytes { target throws(QCodecError) in
        try unsafe compress(source, level: level, isCodes: false, into: target)
      }
    }
    return count.map { Array(target[..<$0]) }
  }

  /// What an array decompresses to, of a known length.
  func decompressed(_ bytes: [UInt8], count: Int) throws(QCodecError) -> [UInt8] {
    var target = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withBytes { source throws(QCodecError) in
      try unsafe target.withMutableBytes { target throws(QCodecError) in
        try unsafe decompress(source, into: target)
      }
    }
    return target
  }
}
