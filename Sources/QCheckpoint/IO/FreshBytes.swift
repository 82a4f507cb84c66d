import CQCodecKernels
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Throws `io` where there is no memory for so many bytes: to ask for them would end the process.
///
/// Sizes follow from what a file holds, but a file may be sparse, and chunks may be compressed a thousandfold.
func requireMemory(_ count: Int) throws(QCodecError) {
  guard count < 64 << 20 || qcodec_can_allocate(count) != 0 else {
    throw QCodecError(.io, "there is no memory for \(count) bytes")
  }
}

extension [UInt8] {
  /// Creates an array of `count` bytes, all of which `fill` writes; throws what that throws, and as `requireMemory`.
  ///
  /// For what is large: the memory is not set to zero first, and asked for in large pages, for a fault at every 4 KiB
  /// takes longer than reading what fills them.
  init(count: Int, filledBy fill: (UnsafeMutableRawBufferPointer) throws(QCodecError) -> Void) throws(QCodecError) {
    try requireMemory(count)
    var failure: QCodecError?
    self = unsafe [UInt8](uninitialized: count) { buffer, written in
      let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
      unsafe preferLargePages(target)
      do throws(QCodecError) {
        try unsafe fill(target)
        written = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}

/// Tells the system that memory will be written from end to end; a hint, which it may not follow.
private func preferLargePages(_ memory: UnsafeMutableRawBufferPointer) {
  #if os(Linux)
    // Smaller allocations share their pages with others.
    guard memory.count >= 4 << 20, let start = memory.baseAddress else { return }
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    let first = (UInt(bitPattern: start) + page - 1) / page * page
    let end = (UInt(bitPattern: start) + UInt(memory.count)) / page * page
    _ = unsafe madvise(UnsafeMutableRawPointer(bitPattern: first), Int(end - first), MADV_HUGEPAGE)
  #endif
}
