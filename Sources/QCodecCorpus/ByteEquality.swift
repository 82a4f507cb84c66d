#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension [UInt8] {
  /// Whether these bytes are those of a range of others: at the speed of memory, for a campaign compares gigabytes.
  func equals(_ other: [UInt8], _ range: Range<Int>) -> Bool {
    guard count == range.count, range.upperBound <= other.count else { return false }
    return unsafe withUnsafeBytes { own in
      unsafe other.withUnsafeBytes { others in
        guard let one = own.baseAddress, let two = others.baseAddress else { return true }
        return unsafe memcmp(one, two + range.lowerBound, own.count) == 0
      }
    }
  }

  /// Whether these bytes and others are the same in a range that both have.
  func agrees(with other: [UInt8], in range: Range<Int>) -> Bool {
    guard range.upperBound <= count, range.upperBound <= other.count else { return false }
    return unsafe withUnsafeBytes { own in
      unsafe other.withUnsafeBytes { others in
        guard let one = own.baseAddress, let two = others.baseAddress else { return true }
        return unsafe memcmp(one + range.lowerBound, two + range.lowerBound, range.count) == 0
      }
    }
  }
}
