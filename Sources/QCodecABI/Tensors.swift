// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCheckpoint
import QCodec

/// The lengths of a shape; throws `invalidShape` for more than 32.
func shape(_ lengths: UnsafePointer<UInt64>?, _ dims: Int) throws(QCodecError) -> [UInt64] {
  guard (0...32).contains(dims) else { throw QCodecError(.invalidShape, "\(dims) dims, 32 at most") }
  return try unsafe Array(elements(lengths, dims, "shape"))
}

extension qcodec_measured {
  init(_ statistics: TensorStatistics, scheme: Scheme?) {
    self.init()
    max_abs_error = statistics.maxAbsError
    max_scaled_error = statistics.maxScaledError
    rel_l2_error = statistics.relativeL2Error
    guaranteed_max_abs_error = statistics.guaranteedMaxAbsError
    let isRelative = scheme.map { $0.map == .log || $0.domain == .update } ?? false
    guaranteed_max_rel_error = isRelative ? statistics.guaranteedMaxRelError : .nan
    zeros_created = statistics.zerosCreated
    sign_changes = statistics.signChanges
  }
}

/// The first bytes of a buffer as room for exactly `size`; throws `bufferTooSmall`.
private func room(
  _ pointer: UnsafeMutableRawPointer?, _ capacity: Int, exactly size: Int
) throws(QCodecError) -> UnsafeMutableRawBufferPointer {
  let buffer = try unsafe room(pointer, capacity, "stream")
  guard capacity >= size else {
    throw QCodecError(.bufferTooSmall, "the stream has \(size) bytes, the buffer \(capacity)")
  }
  return unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<size])
}

private func codec(
  _ handle: OpaquePointer?, _ dtype: Int32, _ lengths: UnsafePointer<UInt64>?, _ dims: Int
) throws(QCodecError) -> TensorCodec {
  try unsafe TensorCodec(dtype: elementType(dtype), shape: shape(lengths, dims), scheme: scheme(handle))
}

@c @implementation public func qcodec_encoded_size(
  _ handle: OpaquePointer?, _ dtype: Int32, _ lengths: UnsafePointer<UInt64>?, _ dims: Int,
  _ size: UnsafeMutablePointer<Int>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    guard let size = unsafe size else { throw invalid("size is NULL") }
    let layout = try unsafe TensorLayout(
      dtype: elementType(dtype), shape: shape(lengths, dims), scheme: scheme(handle))
    unsafe size.pointee = layout.streamByteCount
  }
}

@c @implementation public func qcodec_encode(
  _ handle: OpaquePointer?, _ dtype: Int32, _ lengths: UnsafePointer<UInt64>?, _ dims: Int,
  _ name: UnsafePointer<CChar>?, _ values: UnsafeRawPointer?, _ valuesSize: Int, _ stream: UnsafeMutableRawPointer?,
  _ capacity: Int, _ threads: Int32, _ measured: UnsafeMutablePointer<qcodec_measured>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let codec = try unsafe codec(handle, dtype, lengths, dims)
    let name = unsafe name == nil ? "" : try text(name, "name")
    let source = try unsafe bytes(values, valuesSize, "values")
    let target = try unsafe room(stream, capacity, exactly: codec.encodedByteCount)
    var span = unsafe MutableRawSpan(_unsafeBytes: target)
    let statistics = try unsafe codec.encode(
      RawSpan(_unsafeBytes: source), name: name, into: &span, threads: threadCount(threads))
    unsafe measured?.pointee = qcodec_measured(statistics, scheme: codec.layout.scheme)
  }
}

@c @implementation public func qcodec_decode(
  _ handle: OpaquePointer?, _ dtype: Int32, _ lengths: UnsafePointer<UInt64>?, _ dims: Int,
  _ stream: UnsafeRawPointer?, _ streamSize: Int, _ values: UnsafeMutableRawPointer?, _ valuesSize: Int,
  _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let codec = try unsafe codec(handle, dtype, lengths, dims)
    let source = try unsafe bytes(stream, streamSize, "stream")
    var span = unsafe MutableRawSpan(_unsafeBytes: try room(values, valuesSize, "values"))
    try unsafe codec.decode(RawSpan(_unsafeBytes: source), into: &span, threads: threadCount(threads))
  }
}

@c @implementation public func qcodec_decode_rows(
  _ handle: OpaquePointer?, _ dtype: Int32, _ lengths: UnsafePointer<UInt64>?, _ dims: Int,
  _ stream: UnsafeRawPointer?, _ streamSize: Int, _ first: UInt64, _ count: UInt64,
  _ values: UnsafeMutableRawPointer?, _ valuesSize: Int, _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let codec = try unsafe codec(handle, dtype, lengths, dims)
    let source = try unsafe bytes(stream, streamSize, "stream")
    var span = unsafe MutableRawSpan(_unsafeBytes: try room(values, valuesSize, "values"))
    try unsafe codec.decodeRows(
      rows(first, count), of: RawSpan(_unsafeBytes: source), into: &span, threads: threadCount(threads))
  }
}

/// A range of rows; throws `invalidArgument` where its end is beyond 64 bits.
func rows(_ first: UInt64, _ count: UInt64) throws(QCodecError) -> Range<UInt64> {
  let (end, overflow) = first.addingReportingOverflow(count)
  guard !overflow else { throw invalid("\(count) rows from \(first) on") }
  return first..<end
}

// MARK: Moments

private func momentCodec(
  _ first: OpaquePointer?, _ second: OpaquePointer?, _ lengths: UnsafePointer<UInt64>?, _ dims: Int
) throws(QCodecError) -> MomentCodec {
  try unsafe MomentCodec(shape: shape(lengths, dims), first: scheme(first), second: scheme(second))
}

@c @implementation public func qcodec_encode_moments(
  _ first: OpaquePointer?, _ second: OpaquePointer?, _ lengths: UnsafePointer<UInt64>?, _ dims: Int,
  _ firstValues: UnsafePointer<Float>?, _ secondValues: UnsafePointer<Float>?,
  _ firstStream: UnsafeMutableRawPointer?, _ firstCapacity: Int, _ secondStream: UnsafeMutableRawPointer?,
  _ secondCapacity: Int, _ threads: Int32, _ measured: UnsafeMutablePointer<qcodec_measured>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let codec = try unsafe momentCodec(first, second, lengths, dims)
    let size = codec.second.decodedByteCount
    let m = try unsafe RawSpan(_unsafeBytes: bytes(firstValues, size, "first_values"))
    let v = try unsafe RawSpan(_unsafeBytes: bytes(secondValues, size, "second_values"))
    var one = unsafe MutableRawSpan(
      _unsafeBytes: try room(firstStream, firstCapacity, exactly: codec.first.streamByteCount))
    var other = unsafe MutableRawSpan(
      _unsafeBytes: try room(secondStream, secondCapacity, exactly: codec.second.encodedByteCount))
    let statistics = try codec.encode(
      first: m, second: v, into: &one, &other, threads: threadCount(threads))
    unsafe measured?[0] = qcodec_measured(statistics.first, scheme: codec.first.scheme)
    unsafe measured?[1] = qcodec_measured(statistics.second, scheme: codec.second.layout.scheme)
  }
}

@c @implementation public func qcodec_decode_first_moment(
  _ first: OpaquePointer?, _ second: OpaquePointer?, _ lengths: UnsafePointer<UInt64>?, _ dims: Int,
  _ firstStream: UnsafeRawPointer?, _ firstSize: Int, _ secondStream: UnsafeRawPointer?, _ secondSize: Int,
  _ values: UnsafeMutablePointer<Float>?, _ valuesSize: Int, _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let codec = try unsafe momentCodec(first, second, lengths, dims)
    let one = try unsafe RawSpan(_unsafeBytes: bytes(firstStream, firstSize, "first_stream"))
    let other = try unsafe RawSpan(_unsafeBytes: bytes(secondStream, secondSize, "second_stream"))
    var span = unsafe MutableRawSpan(_unsafeBytes: try room(values, valuesSize, "values"))
    try codec.decodeFirst(one, second: other, into: &span, threads: threadCount(threads))
  }
}

// MARK: Described tensors

extension qcodec_tensor {
  /// The elements, where they lie or as a function delivers them.
  func source() throws(QCodecError) -> any TensorSource {
    guard let count = unsafe Int(exactly: size) else { throw invalid("a tensor of \(unsafe size) bytes") }
    if let data = unsafe data { return unsafe BorrowedSource(UnsafeRawBufferPointer(start: data, count: count)) }
    guard let read = unsafe read else {
      guard count == 0 else { throw invalid("a tensor has neither data nor a function that reads it") }
      return MemorySource(bytes: [])
    }
    return unsafe CallbackSource(byteCount: size, read: reading(read, context))
  }

  /// Name, type and shape.
  func summary() throws(QCodecError) -> TensorSummary {
    let name = try unsafe text(name, "a tensor's name")
    do throws(QCodecError) {
      return try unsafe TensorSummary(
        name: name, dtype: elementType(dtype), shape: QCodecABI.shape(shape, dims), role: statedRole())
    } catch {
      throw QCodecError(error.code, error.message, tensor: name)
    }
  }

  private func statedRole() throws(QCodecError) -> Role {
    guard let role = unsafe UInt8(exactly: role).flatMap(Role.init(rawValue:)) else {
      throw invalid("\(unsafe role) is no role")
    }
    return role
  }
}

/// A caller's function as a source has it.
func reading(_ read: @escaping qcodec_read_function, _ context: UnsafeMutableRawPointer?) -> CallbackSource.Read {
  // Safe: the header says that it is called from any thread.
  nonisolated(unsafe) let function = unsafe (call: read, context: context)
  return { (offset, target) throws(QCodecError) in
    if unsafe target.isEmpty { return }
    let status = unsafe function.call(function.context, offset, target.baseAddress, target.count)
    guard status == 0 else {
      throw QCodecError(.io, "the caller's function failed to read, with \(status)", offset: offset)
    }
  }
}
