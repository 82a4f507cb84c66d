extension [UInt8] {
  /// As `withUnsafeBytes`, which does not pass typed errors on; the bytes lie `shift` bytes behind a multiple of 16, for
  /// callers' memory has any alignment.
  func withRaw<Result, Failure: Error>(
    shift: Int = 0, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // Memory of its own and of its own size, so that the sanitizer sees every byte read beyond it.
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Swift.max(shift + count, 1), alignment: 16)
    defer { memory.deallocate() }
    let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[shift..<shift + count])
    for index in indices { bytes[index] = self[index] }
    return try body(UnsafeRawBufferPointer(bytes))
  }

  /// As `withUnsafeMutableBytes`; the bytes lie as those of `withRaw` do.
  mutating func withMutableRaw<Result, Failure: Error>(
    shift: Int = 0, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Swift.max(shift + count, 1), alignment: 16)
    defer { memory.deallocate() }
    let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[shift..<shift + count])
    for index in indices { bytes[index] = self[index] }
    let result = try body(bytes)
    for index in indices { self[index] = bytes[index] }
    return result
  }
}
