import QCodec

/// The bytes of one tensor, readable again and again, from any thread.
///
/// Encoders read a tensor once or twice; a source that must be asked twice costs less memory than one kept whole.
public protocol TensorSource: Sendable {
  /// The tensor's bytes.
  var byteCount: UInt64 { get }
  /// Fills `target` from `offset` on; `target` never reaches beyond `byteCount`.
  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError)
}

/// A tensor in memory.
public struct MemorySource: TensorSource {
  private let bytes: [UInt8]

  /// The tensor whose bytes these are.
  public init(bytes: [UInt8]) { self.bytes = bytes }

  /// An f32 tensor.
  public init(_ values: [Float]) {
    bytes = unsafe values.withUnsafeBytes { unsafe [UInt8]($0) }
  }

  /// Bytes in memory.
  public var byteCount: UInt64 { UInt64(bytes.count) }

  /// Copies from `offset` on; throws `truncated` for more than the tensor has.
  public func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    guard offset <= byteCount, UInt64(target.count) <= byteCount - offset else {
      throw QCodecError(.truncated, "the tensor has \(byteCount) bytes", offset: offset)
    }
    unsafe bytes.withUnsafeBytes { all in
      unsafe target.copyMemory(from: .init(rebasing: all[Int(offset)..<Int(offset) + target.count]))
    }
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
