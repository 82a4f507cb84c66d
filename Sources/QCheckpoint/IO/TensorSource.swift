import QCodec

/// The bytes of one tensor, readable again and again, from any thread.
///
/// Encoders read a tensor once or twice; a source that must be asked twice costs less memory than one kept whole.
public protocol TensorSource: Sendable {
  /// The tensor's bytes.
  var byteCount: UInt64 { get }
  /// Fills `target` from `offset` on; `target` never reaches beyond `byteCount`.
  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError)
  /// The first offset from `offset` on whose byte may be other than zero; `byteCount` where there is none. The default
  /// is `offset`.
  func nextData(from offset: UInt64) -> UInt64
  /// Calls `body` with the bytes of a range where they lie in memory, for its duration; returns false, without a call,
  /// where they do not. The default is that they do not.
  func withMemory(
    at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) -> Bool
}

extension TensorSource {
  /// That any byte may be other than zero.
  public func nextData(from offset: UInt64) -> UInt64 { offset }

  /// That the bytes do not lie in memory.
  public func withMemory(
    at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) -> Bool {
    false
  }

  /// Calls `body` with the bytes of a range: where they lie, or read into memory of the pool.
  func withBytes<Result>(
    at offset: UInt64, count: Int, pool: BufferPool,
    _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Result
  ) throws(QCodecError) -> Result {
    var result: Result?
    let isInMemory = try unsafe withMemory(at: offset, count: count) { bytes throws(QCodecError) in
      result = try unsafe body(bytes)
    }
    if isInMemory, let result { return result }
    let buffer = pool.buffer(count)
    try unsafe read(at: offset, into: buffer.bytes)
    return try unsafe body(buffer.contents)
  }

  /// The bytes of a range.
  package func bytes(at offset: UInt64, count: Int) throws(QCodecError) -> [UInt8] {
    var failure: QCodecError?
    let bytes = unsafe [UInt8](uninitialized: count) { buffer, initialized in
      // Large directories are read by this: zeros first would be another pass over their memory.
      do throws(QCodecError) {
        try unsafe read(at: offset, into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
        initialized = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }
}

/// A tensor in an array, which is shared and not copied.
public struct MemorySource: TensorSource {
  private enum Storage: Sendable {
    case bytes([UInt8])
    case floats([Float])
  }

  private let storage: Storage
  /// Bytes in memory.
  public let byteCount: UInt64

  /// The tensor whose bytes these are.
  public init(bytes: [UInt8]) {
    storage = .bytes(bytes)
    byteCount = UInt64(bytes.count)
  }

  /// An f32 tensor.
  public init(_ values: [Float]) {
    storage = .floats(values)
    byteCount = UInt64(values.count) * 4
  }

  /// Copies from `offset` on; throws `truncated` for more than the tensor has.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    _ = try unsafe withMemory(at: offset, count: target.count) { bytes in unsafe target.copyMemory(from: bytes) }
  }

  /// Calls `body` with bytes of the array; throws `truncated` for more than the tensor has.
  public func withMemory(
    at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) -> Bool {
    let range = try range(at: offset, count: count)
    switch storage {
    case .bytes(let bytes):
      try unsafe bytes.withBytes { all throws(QCodecError) in
        try unsafe body(UnsafeRawBufferPointer(rebasing: all[range]))
      }
    case .floats(let floats):
      try unsafe floats.withUnsafeBufferPointer { all throws(QCodecError) in
        try unsafe body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(all)[range]))
      }
    }
    return true
  }
}

extension TensorSource {
  /// A range that the tensor has; throws `truncated` for others.
  fileprivate func range(at offset: UInt64, count: Int) throws(QCodecError) -> Range<Int> {
    guard offset <= byteCount, UInt64(count) <= byteCount - offset else {
      throw QCodecError(.truncated, "the tensor has \(byteCount) bytes", offset: offset)
    }
    return Int(offset)..<Int(offset) + count
  }
}

/// A tensor in memory that someone else owns and keeps, unchanged, for as long as the source is used.
///
/// Safe only as far as that promise goes, which is why making one is not.
@safe public struct BorrowedSource: TensorSource, @unchecked Sendable {
  private let bytes: UnsafeRawBufferPointer

  /// The tensor whose bytes these are; the caller keeps them.
  @unsafe public init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = bytes }

  /// Bytes in memory.
  public var byteCount: UInt64 { unsafe UInt64(bytes.count) }

  /// Copies from `offset` on; throws `truncated` for more than the tensor has.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    let range = try range(at: offset, count: target.count)
    unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range]))
  }

  /// Calls `body` with bytes of the tensor; throws `truncated` for more than it has.
  public func withMemory(
    at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) -> Bool {
    let range = try range(at: offset, count: count)
    try unsafe body(UnsafeRawBufferPointer(rebasing: bytes[range]))
    return true
  }
}

/// A tensor that lies in a file.
public struct FileRangeSource: TensorSource {
  private let file: InputFile
  private let offset: UInt64
  /// Bytes of the tensor.
  public let byteCount: UInt64

  /// The bytes `offset..<offset + byteCount` of a file.
  public init(file: InputFile, offset: UInt64, byteCount: UInt64) {
    self.file = file
    self.offset = offset
    self.byteCount = byteCount
  }

  /// Reads from `offset` of the range on; throws `truncated` where the file ends before, and `io`.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    try unsafe file.read(at: self.offset + offset, into: target)
  }

  /// Passes over what a sparse file has no room for.
  public func nextData(from offset: UInt64) -> UInt64 {
    min(byteCount, max(self.offset, file.nextData(from: self.offset + offset)) - self.offset)
  }
}

/// A tensor that a function delivers by range.
@safe public struct CallbackSource: TensorSource {
  /// Fills a buffer from an offset of the tensor on; called from any thread.
  public typealias Read = @Sendable (UInt64, UnsafeMutableRawBufferPointer) throws(QCodecError) -> Void

  /// Bytes of the tensor.
  public let byteCount: UInt64
  private let body: Read

  /// A source of `byteCount` bytes.
  public init(byteCount: UInt64, read: @escaping Read) {
    self.byteCount = byteCount
    unsafe body = read
  }

  /// Calls the function; throws what it throws.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    try unsafe body(offset, target)
  }
}
