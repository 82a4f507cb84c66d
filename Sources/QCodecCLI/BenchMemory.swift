import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Memory fresh from the system, whose pages are not there until they are touched.
///
/// Of the system's usual pages unless huge ones are asked for: where the system must make room for these, touching
/// memory takes seconds a GiB or none, by chance. What is touched before it is measured has nothing of that, and with
/// usual pages would measure how the system finds them.
///
/// Safe: unmapped with the object; whoever works on it from several threads works on parts that do not overlap.
@safe final class BenchMemory: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  /// Maps memory; throws a failure of the system where there is not enough.
  init(byteCount: Int, hugePages: Bool = false) throws {
    let mapped = unsafe mmap(nil, max(byteCount, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | Self.anonymous, -1, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
      throw Failure("cannot allocate \(ByteSize.text(UInt64(byteCount)))", status: .system)
    }
    unsafe bytes = UnsafeMutableRawBufferPointer(start: mapped, count: byteCount)
    #if os(Linux)
      // A wish: systems without them ignore it.
      if hugePages { _ = unsafe madvise(mapped, max(byteCount, 1), MADV_HUGEPAGE) }
    #endif
  }

  deinit { unsafe munmap(bytes.baseAddress, max(bytes.count, 1)) }

  /// Bytes of a range, to be read.
  subscript(range: Range<Int>) -> UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[range])
  }

  /// Bytes of a range, to be written.
  func room(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range])
  }

  /// Writes to every page.
  func touch() { unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0) }

  /// Fills all of it with the bytes of another, repeated.
  func fill(repeating other: BenchMemory) {
    for start in unsafe stride(from: 0, to: bytes.count, by: other.bytes.count) {
      let count = unsafe min(other.bytes.count, bytes.count - start)
      unsafe room(start..<start + count).copyMemory(from: other[0..<count])
    }
  }

  #if canImport(Darwin)
    private static let anonymous = MAP_ANON
  #else
    private static let anonymous = MAP_ANONYMOUS
  #endif
}

/// The process's resident memory, where the system tells; Linux does.
enum ResidentMemory {
  /// Forgets the peak so far; false where that cannot be.
  static func resetPeak() -> Bool {
    let descriptor = unsafe open("/proc/self/clear_refs", O_WRONLY)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return unsafe write(descriptor, "5", 1) == 1
  }

  /// Bytes that are resident now.
  static var now: UInt64? { field("VmRSS:") }

  /// The most bytes that were resident since the peak was reset.
  static var peak: UInt64? { field("VmHWM:") }

  private static func field(_ name: String) -> UInt64? {
    SystemText.lines(of: "/proc/self/status").first { $0.hasPrefix(name) }
      .flatMap { $0.split(whereSeparator: \.isWhitespace).dropFirst().first }
      .flatMap { UInt64($0) }.map { $0 * 1024 }
  }
}

/// Small files that the system makes up.
enum SystemText {
  /// The lines of a file; none where it cannot be read.
  static func lines(of path: String) -> [String] {
    let descriptor = unsafe open(path, O_RDONLY)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var (text, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 1 << 16))
    // The first 64 KiB say it all; a file of this kind has no size to ask for.
    while text.count < 1 << 16 {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
      guard count > 0 else { break }
      text += buffer[..<count]
    }
    return String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
  }
}
