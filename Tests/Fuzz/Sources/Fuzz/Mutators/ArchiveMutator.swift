import CLibFuzzer

/// Makes the checksums of an .npz archive's stored members right after a change; an array alone has none.
enum ArchiveMutator {
  static func mutate(_ input: [UInt8], _ maximum: Int, _ random: inout Random) -> [UInt8] {
    let capacity = max(maximum, input.count)
    var bytes = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
      for index in input.indices { buffer[index] = input[index] }
      count = LLVMFuzzerMutate(buffer.baseAddress, input.count, maximum)
    }
    if !random.once(in: 4) { repair(&bytes) }
    return bytes
  }

  /// Goes through whatever looks like an entry of the archive's directory.
  private static func repair(_ bytes: inout [UInt8]) {
    guard bytes.count >= 46 else { return }
    for at in 0...bytes.count - 46 where bytes.half(at) == 0x0201_4B50 {
      let (method, size) = (UInt16(truncatingIfNeeded: bytes.half(at + 10)), Int(bytes.half(at + 24)))
      let local = Int(bytes.half(at + 42))
      guard method == 0, local <= bytes.count - 30 else { continue }
      let lengths = bytes.half(local + 26)
      let start = local + 30 + Int(lengths & 0xFFFF) + Int(lengths >> 16)
      guard start <= bytes.count, size <= bytes.count - start else { continue }
      bytes.set(at + 16, crc(bytes[start..<start + size]))
    }
  }

  /// The CRC-32 of zip archives.
  private static func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var value = UInt32.max
    for byte in bytes {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value >> 1 ^ (value & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~value
  }
}
