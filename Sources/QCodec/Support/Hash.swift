import CXXHash

/// XXH3-64 with seed 0, the checksum of every part of a checkpoint.
public func xxh3(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
  unsafe XXH3_64bits(bytes.baseAddress, bytes.count)
}

/// XXH3-64 of an array's bytes.
public func xxh3(_ bytes: [UInt8]) -> UInt64 {
  unsafe bytes.withUnsafeBytes { unsafe xxh3($0) }
}

/// XXH3-64 of a string's UTF-8 form.
public func xxh3(_ text: String) -> UInt64 {
  xxh3(Array(text.utf8))
}
