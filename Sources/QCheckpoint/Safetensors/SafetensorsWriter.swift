import QCodec

/// Writes a safetensors file strictly forward: the header at once, then the tensors' bytes in the header's order.
///
/// Equal tensors and metadata give equal bytes. A file appears under its name only when `finish` returns; until then,
/// and after any error, a previous file stays. Memory: the header. Not to be shared between threads.
public final class SafetensorsWriter {
  /// What the header says of a tensor.
  public struct Tensor: Sendable, Hashable {
    /// Any text but `__metadata__`, unlike every other.
    public var name: String
    /// Any but C128, which safetensors lacks.
    public var dtype: DType
    /// The lengths of the axes, C order.
    public var shape: [UInt64]

    /// Describes a tensor.
    public init(name: String, dtype: DType, shape: [UInt64]) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
    }
  }

  /// The tensors with their places in the file, in the order in which their bytes are to be written.
  public let entries: [SafetensorsEntry]
  private let output: OutputFile
  private let fileLength: UInt64

  /// Begins a file that will replace the one at `path`; throws `io`, and before anything is touched `invalidName`,
  /// `duplicateName`, `limitExceeded` and, for what safetensors cannot express, `invalidSafetensors`.
  public convenience init(
    path: String, tensors: [Tensor], metadata: [String: String] = [:]
  ) throws(QCodecError) {
    let header = try SafetensorsHeader(tensors: tensors, metadata: metadata)
    try self.init(output: OutputFile(path: path), header: header)
  }

  /// Begins a file on an open descriptor, a pipe for instance, which stays open; throws as
  /// `init(path:tensors:metadata:)`.
  public convenience init(
    descriptor: Int32, tensors: [Tensor], metadata: [String: String] = [:]
  ) throws(QCodecError) {
    let header = try SafetensorsHeader(tensors: tensors, metadata: metadata)
    try self.init(output: OutputFile(descriptor: descriptor), header: header)
  }

  private init(output: OutputFile, header: SafetensorsHeader) throws(QCodecError) {
    self.output = output
    entries = header.entries
    fileLength = header.fileLength
    try output.write(header.bytes)
  }

  /// The order in which the format's own writer puts tensors: wide elements first, so that all of them lie aligned,
  /// then by name.
  public static func aligned(_ tensors: [Tensor]) -> [Tensor] {
    tensors.sorted {
      $0.dtype.bitWidth != $1.dtype.bitWidth
        ? $0.dtype.bitWidth > $1.dtype.bitWidth : $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
  }

  /// The file that is written to until `finish` puts it in place; nil for pipes and devices.
  public var temporaryPath: String? { output.temporaryPath }

  /// Bytes of all tensors that are still to be written.
  public var remaining: UInt64 { fileLength - output.position }

  /// Appends bytes of the tensors, in pieces of any size; throws `io`, and `invalidArgument` for more than the header
  /// promises.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(QCodecError) {
    guard UInt64(bytes.count) <= remaining else {
      abort()
      throw QCodecError(.invalidArgument, "more bytes than the tensors of the header have", offset: output.position)
    }
    do throws(QCodecError) {
      try unsafe output.write(bytes)
    } catch {
      abort()
      throw error
    }
  }

  /// Appends a whole tensor in pieces of 4 MiB; throws what its source throws, else as `write(_:)`.
  public func write(_ source: any TensorSource) throws(QCodecError) {
    var buffer = [UInt8](repeating: 0, count: Int(min(source.byteCount, 4 << 20)))
    var position: UInt64 = 0
    while position < source.byteCount {
      let count = Int(min(source.byteCount - position, UInt64(buffer.count)))
      try unsafe buffer.withMutableBytes { bytes throws(QCodecError) in
        let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
        try unsafe source.read(at: position, into: piece)
        try unsafe write(UnsafeRawBufferPointer(piece))
      }
      position += UInt64(count)
    }
  }

  /// Puts the complete file in place; throws `io`, and `invalidArgument` where bytes are missing. Returns its length.
  @discardableResult
  public func finish() throws(QCodecError) -> UInt64 {
    guard remaining == 0 else {
      abort()
      throw QCodecError(
        .invalidArgument, "\(remaining) bytes of the header's tensors were not written", offset: output.position)
    }
    do throws(QCodecError) {
      try output.commit()
    } catch {
      abort()
      throw error
    }
    return fileLength
  }

  /// Gives the file up: none appears, a previous one stays; a pipe ends early.
  public func abort() { output.abort() }
}

/// The header of a safetensors file to be written.
struct SafetensorsHeader {
  let entries: [SafetensorsEntry]
  /// The length field, the JSON text and its padding.
  let bytes: [UInt8]
  let fileLength: UInt64

  init(tensors: [SafetensorsWriter.Tensor], metadata: [String: String]) throws(QCodecError) {
    let ranges = try Self.ranges(of: tensors)
    let text = Self.text(tensors, ranges, metadata)
    // The data begin at a multiple of 8.
    let length = (text.utf8.count + 7) & ~7
    guard length <= SafetensorsFile.maximumHeader else {
      throw QCodecError(
        .limitExceeded, "a safetensors header of \(length) bytes, \(SafetensorsFile.maximumHeader) at most")
    }
    var writer = ByteWriter()
    writer.write(UInt64(length))
    writer.write(contentsOf: Array(text.utf8))
    writer.write(contentsOf: [UInt8](repeating: UInt8(ascii: " "), count: length - text.utf8.count))
    bytes = writer.bytes
    let dataOffset = UInt64(bytes.count)
    fileLength = dataOffset + (ranges.last?.upperBound ?? 0)
    entries = zip(tensors, ranges).map { tensor, range in
      SafetensorsEntry(
        name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, offset: dataOffset + range.lowerBound,
        byteCount: range.upperBound - range.lowerBound)
    }
  }

  private static func ranges(of tensors: [SafetensorsWriter.Tensor]) throws(QCodecError) -> [Range<UInt64>] {
    var names: Set<[UInt8]> = []
    var result: [Range<UInt64>] = []
    var end: UInt64 = 0
    for tensor in tensors {
      func refuse(_ message: String) -> QCodecError { QCodecError(.invalidSafetensors, message, tensor: tensor.name) }
      guard tensor.name != "__metadata__" else {
        throw QCodecError(.invalidName, "safetensors keeps this name for its metadata", tensor: tensor.name)
      }
      guard names.insert(Array(tensor.name.utf8)).inserted else {
        throw QCodecError(.duplicateName, "two tensors of this name", tensor: tensor.name)
      }
      guard SafetensorsEntry.isStorable(tensor.dtype) else { throw refuse("safetensors has no \(tensor.dtype.name)") }
      let bytes = try SafetensorsEntry.byteCount(dtype: tensor.dtype, shape: tensor.shape, refuse: refuse)
      // JSON integers end at 2^63 here, lengths of files at the same.
      guard bytes <= UInt64(Int64.max) - end, tensor.shape.allSatisfy({ $0 <= UInt64(Int64.max) }) else {
        throw QCodecError(.limitExceeded, "the file would exceed 2^63 bytes", tensor: tensor.name)
      }
      result.append(end..<end + bytes)
      end += bytes
    }
    return result
  }

  private static func text(
    _ tensors: [SafetensorsWriter.Tensor], _ ranges: [Range<UInt64>], _ metadata: [String: String]
  ) -> String {
    var text = "{"
    if !metadata.isEmpty {
      text += "\"__metadata__\":" + JSONValue.object(metadata.mapValues { .string($0) }).serialized()
    }
    for (tensor, range) in zip(tensors, ranges) {
      if text.utf8.count > 1 { text += "," }
      JSONValue.write(string: tensor.name, into: &text)
      text += ":{\"dtype\":\"\(tensor.dtype.name)\",\"shape\":["
      text += tensor.shape.map { String($0) }.joined(separator: ",")
      text += "],\"data_offsets\":[\(range.lowerBound),\(range.upperBound)]}"
    }
    return text + "}"
  }
}
