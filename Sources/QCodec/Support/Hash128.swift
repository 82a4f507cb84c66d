import CXXHash

/// An XXH3-128 with seed 0, by which tensors are told apart in manifests. It is no protection against forgery.
public struct Hash128: Sendable, Hashable {
  /// The upper and the lower 64 bits.
  public let high, low: UInt64

  /// A hash by its two halves.
  public init(high: UInt64, low: UInt64) { (self.high, self.low) = (high, low) }

  /// The sixteen bytes from the highest on: xxHash's canonical form.
  public var bytes: [UInt8] {
    [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * UInt64($0))) } }
  }
}

extension Hash128: LosslessStringConvertible {
  /// The 32 lower-case hexadecimal digits of `bytes`.
  public var description: String {
    [high, low].map { half in
      let digits = String(half, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }

  /// The hash of a description; nil for any other text.
  public init?(_ description: String) {
    let digits = Array(description.utf8)
    let isHexadecimal = digits.allSatisfy {
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
    }
    guard digits.count == 32, isHexadecimal,
      let high = UInt64(String(decoding: digits[..<16], as: UTF8.self), radix: 16),
      let low = UInt64(String(decoding: digits[16...], as: UTF8.self), radix: 16)
    else { return nil }
    self.init(high: high, low: low)
  }
}

/// An XXH3-128 of bytes that come in pieces.
@safe package final class StreamingHash128 {
  private let state: OpaquePointer

  package init() {
    guard let state = unsafe XXH3_createState() else { preconditionFailure("there is no memory for a hash") }
    unsafe self.state = state
    _ = unsafe XXH3_128bits_reset(state)
  }

  deinit { _ = unsafe XXH3_freeState(state) }

  package func append(_ bytes: UnsafeRawBufferPointer) {
    // Safe: the buffer holds as many bytes; no bytes have no address.
    if let start = bytes.baseAddress { _ = unsafe XXH3_128bits_update(state, start, bytes.count) }
  }

  package func append(_ bytes: [UInt8]) { unsafe bytes.withUnsafeBytes { unsafe append($0) } }

  /// The hash of what came so far.
  package var value: Hash128 {
    let hash = unsafe XXH3_128bits_digest(state)
    return Hash128(high: hash.high64, low: hash.low64)
  }
}
