// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCheckpoint
import QCodec
import QVerify

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

func checkpoint(_ handle: OpaquePointer?) throws(QCodecError) -> CheckpointReader {
  try unsafe object(handle, CheckpointReader.self, "reader")
}

/// The number of a tensor that the checkpoint has; throws `tensorNotFound`.
private func number(_ tensor: Int, _ reader: CheckpointReader) throws(QCodecError) -> Int {
  guard (0..<reader.tensorCount).contains(tensor) else {
    throw QCodecError(.tensorNotFound, "tensor \(UInt(bitPattern: tensor)) of \(reader.tensorCount)")
  }
  return tensor
}

@c @implementation public func qcodec_reader_open(
  _ path: UnsafePointer<CChar>?, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in try CheckpointReader(path: unsafe text(path, "path")) }
  }
}

@c @implementation public func qcodec_reader_open_base(
  _ path: UnsafePointer<CChar>?, _ base: UnsafePointer<CChar>?, _ place: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let path = try unsafe text(path, "path")
      return try CheckpointReader(path: path, bases: [CheckpointReader(path: unsafe text(base, "base"))])
    }
  }
}

@c @implementation public func qcodec_reader_with_base(
  _ handle: OpaquePointer?, _ base: OpaquePointer?, _ place: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      try unsafe checkpoint(handle).withBases([checkpoint(base)])
    }
  }
}

@c @implementation public func qcodec_reader_base(
  _ handle: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let reader = try unsafe checkpoint(handle)
    let document: JSONValue = reader.baseDigest == nil ? .null : try reader.metadata()
    try unsafe give(CheckpointSummary.base(of: reader, document).serialized(), json)
  }
}

@c @implementation public func qcodec_reader_open_fd(
  _ descriptor: Int32, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe qcodec_reader_open_fd_at(descriptor, nil, place, error)
}

@c @implementation public func qcodec_reader_open_fd_at(
  _ descriptor: Int32, _ folder: UnsafePointer<CChar>?, _ place: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let folder = unsafe folder == nil ? nil : try text(folder, "folder")
      let own = dup(descriptor)
      guard own >= 0 else { throw invalid("\(descriptor) is no open descriptor") }
      return try CheckpointReader(file: InputFile(descriptor: own), folder: folder)
    }
  }
}

@c @implementation public func qcodec_reader_open_function(
  _ read: qcodec_read_function?, _ context: UnsafeMutableRawPointer?, _ size: UInt64,
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      guard let read = unsafe read else { throw invalid("read is NULL") }
      guard size < 1 << 63 else { throw invalid("a file of \(size) bytes") }
      return try CheckpointReader(source: unsafe CallbackSource(byteCount: size, read: reading(read, context)))
    }
  }
}

@c @implementation public func qcodec_reader_count(_ handle: OpaquePointer?) -> Int {
  (try? unsafe checkpoint(handle))?.tensorCount ?? 0
}

@c @implementation public func qcodec_reader_find(_ handle: OpaquePointer?, _ name: UnsafePointer<CChar>?) -> Int64 {
  guard let reader = try? unsafe checkpoint(handle), let name = try? unsafe text(name, "name"),
    let index = reader.find(name)
  else { return -1 }
  return Int64(index)
}

@c @implementation public func qcodec_reader_name(
  _ handle: OpaquePointer?, _ tensor: Int, _ name: UnsafeMutablePointer<CChar>?, _ capacity: Int
) -> Int {
  guard let reader = try? unsafe checkpoint(handle), let index = try? number(tensor, reader) else { return 0 }
  var text = reader.tensor(index).name
  return text.withUTF8 { bytes in
    if let name = unsafe name, capacity != 0 {
      let count = Int(min(UInt(bytes.count), UInt(bitPattern: capacity) - 1))
      for place in 0..<count { unsafe name[place] = CChar(bitPattern: bytes[place]) }
      unsafe name[count] = 0
    }
    return bytes.count
  }
}

@c @implementation public func qcodec_reader_info(
  _ handle: OpaquePointer?, _ tensor: Int, _ info: UnsafeMutablePointer<qcodec_tensor_info>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    guard let place = unsafe info else { throw invalid("info is NULL") }
    let reader = try unsafe checkpoint(handle)
    let info = reader.tensor(try number(tensor, reader))
    var result = qcodec_tensor_info()
    result.dtype = Int32(info.dtype.rawValue)
    result.role = Int32(info.role.rawValue)
    result.is_quantized = info.scheme == nil ? 0 : 1
    result.dims = UInt32(info.shape.count)
    unsafe withUnsafeMutableBytes(of: &result.shape) { lengths in
      unsafe info.shape.withUnsafeBytes { unsafe lengths.copyMemory(from: $0) }
    }
    result.elements = info.elementCount
    result.source_bytes = info.sourceBytes
    result.stored_bytes = info.storedBytes
    result.second_moment = info.reference.map { Int64($0) } ?? -1
    result.measured = qcodec_measured(info.statistics, scheme: info.scheme)
    result.measured.guaranteed_max_abs_error = info.guaranteedMaxAbsError ?? .nan
    result.measured.guaranteed_max_rel_error = info.guaranteedMaxRelError ?? .nan
    unsafe place.pointee = result
  }
}

@c @implementation public func qcodec_reader_scheme(
  _ handle: OpaquePointer?, _ tensor: Int, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let reader = try unsafe checkpoint(handle)
      return reader.tensor(try number(tensor, reader)).scheme.map { SchemeBox($0) }
    }
  }
}

// MARK: Values

@c @implementation public func qcodec_reader_read(
  _ handle: OpaquePointer?, _ requests: UnsafePointer<qcodec_read_request>?, _ count: Int, _ threads: Int32,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let reader = try unsafe checkpoint(handle)
    var wanted: [(tensor: Int, target: UnsafeMutableRawBufferPointer)] = unsafe []
    let requests = try unsafe elements(requests, count, "requests")
    for index in 0..<count {
      let request = unsafe requests[index]
      unsafe wanted.append((try number(request.tensor, reader), try room(request.target, request.size, "target")))
    }
    try unsafe reader.read(wanted, threads: threadCount(threads))
  }
}

@c @implementation public func qcodec_reader_read_rows(
  _ handle: OpaquePointer?, _ tensor: Int, _ first: UInt64, _ count: UInt64, _ target: UnsafeMutableRawPointer?,
  _ size: Int, _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let reader = try unsafe checkpoint(handle)
    try unsafe reader.readRows(
      tensor: number(tensor, reader), rows: rows(first, count), into: room(target, size, "target"),
      threads: threadCount(threads))
  }
}

@c @implementation public func qcodec_reader_code_sizes(
  _ handle: OpaquePointer?, _ tensor: Int, _ scalesSize: UnsafeMutablePointer<Int>?,
  _ codesSize: UnsafeMutablePointer<Int>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let reader = try unsafe checkpoint(handle)
    let index = try number(tensor, reader)
    guard let sizes = try reader.codeByteCounts(of: index) else {
      throw QCodecError(.invalidArgument, "a lossless tensor has no codes", tensor: reader.tensor(index).name)
    }
    unsafe scalesSize?.pointee = sizes.scales
    unsafe codesSize?.pointee = sizes.codes
  }
}

@c @implementation public func qcodec_reader_read_codes(
  _ handle: OpaquePointer?, _ tensor: Int, _ scales: UnsafeMutableRawPointer?, _ scalesSize: Int,
  _ codes: UnsafeMutableRawPointer?, _ codesSize: Int, _ threads: Int32, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let reader = try unsafe checkpoint(handle)
    try unsafe reader.readCodes(
      tensor: number(tensor, reader), scales: room(scales, scalesSize, "scales"),
      codes: room(codes, codesSize, "codes"),
      threads: threadCount(threads))
  }
}

@c @implementation public func qcodec_reader_read_stream(
  _ handle: OpaquePointer?, _ tensor: Int, _ stream: UnsafeMutableRawPointer?, _ streamSize: Int, _ threads: Int32,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let reader = try unsafe checkpoint(handle)
    try unsafe reader.readStream(
      tensor: number(tensor, reader), into: room(stream, streamSize, "stream"), threads: threadCount(threads))
  }
}

// MARK: Documents

@c @implementation public func qcodec_reader_member(
  _ handle: OpaquePointer?, _ member: UnsafePointer<CChar>?,
  _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ length: UnsafeMutablePointer<Int>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let document = try unsafe checkpoint(handle).metadata()
    let text = (document[try unsafe QCodecABI.text(member, "member")] ?? .null).serialized()
    try unsafe give(text, json)
    unsafe length?.pointee = text.utf8.count
  }
}

@c @implementation public func qcodec_reader_summary(
  _ handle: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(CheckpointSummary(checkpoint(handle)).json().serialized(), json)
  }
}

@c @implementation public func qcodec_reader_free(_ handle: OpaquePointer?) {
  unsafe release(handle, CheckpointReader.self)
}

// MARK: Verification

@c @implementation public func qcodec_verify_options_init(_ options: UnsafeMutablePointer<qcodec_verify_options>?) {
  unsafe options?.pointee = qcodec_verify_options(
    struct_size: MemoryLayout<qcodec_verify_options>.size, max_rel_l2: .nan, max_abs: .nan, max_update_error: .nan,
    max_update_abs: .nan, epsilon: 1e-8, threads: 0)
}

@c @implementation public func qcodec_verify(
  _ handle: OpaquePointer?, _ original: UnsafePointer<CChar>?, _ options: UnsafePointer<qcodec_verify_options>?,
  _ report: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let document = unsafe original == nil ? nil : try openInput(path: text(original, "original"))
    try unsafe verify(checkpoint(handle), against: document, options, report)
  }
}

@c @implementation public func qcodec_verify_tensors(
  _ handle: OpaquePointer?, _ tensors: UnsafePointer<qcodec_tensor>?, _ count: Int,
  _ options: UnsafePointer<qcodec_verify_options>?, _ report: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    var inputs: [InputTensor] = []
    let tensors = try unsafe elements(tensors, count, "tensors")
    for index in 0..<count {
      let tensor = unsafe tensors[index]
      let summary = try unsafe tensor.summary()
      let source = try unsafe tensor.source()
      let size = try summary.dtype.byteCount(elements: TensorLayout.elementCount(of: summary.shape))
      guard source.byteCount == size else {
        throw QCodecError(
          .shapeMismatch, "\(summary.dtype.name) \(summary.shape) has \(size) bytes, its source \(source.byteCount)",
          tensor: summary.name)
      }
      inputs.append(
        InputTensor(
          name: summary.name, dtype: summary.dtype, shape: summary.shape, source: source, role: summary.role))
    }
    let document = InputDocument(tensors: inputs, metadata: [:], kind: "tensors in memory", files: [])
    try unsafe verify(checkpoint(handle), against: document, options, report)
  }
}

private func verify(
  _ reader: CheckpointReader, against original: InputDocument?, _ options: UnsafePointer<qcodec_verify_options>?,
  _ place: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) throws(QCodecError) {
  var given = qcodec_verify_options()
  unsafe qcodec_verify_options_init(&given)
  if let options = unsafe options {
    guard unsafe options.pointee.struct_size == MemoryLayout<qcodec_verify_options>.size else {
      throw invalid("options of \(unsafe options.pointee.struct_size) bytes; qcodec_verify_options_init sets the size")
    }
    given = unsafe options.pointee
  }
  func limit(_ value: Double, _ name: String) throws(QCodecError) -> Double? {
    guard value.isNaN || value >= 0 else { throw invalid("\(name) is to be 0 or more") }
    return value.isNaN ? nil : value
  }
  guard given.epsilon >= 0, given.epsilon.isFinite else { throw invalid("epsilon is to be 0 or more") }
  let limits = Verifier.Limits(
    maxRelativeL2: try limit(given.max_rel_l2, "max_rel_l2"), maxAbsolute: try limit(given.max_abs, "max_abs"),
    maxUpdateError: try limit(given.max_update_error, "max_update_error"),
    maxUpdateAbsolute: try limit(given.max_update_abs, "max_update_abs"))
  let verifier = Verifier(reader, limits: limits, epsilon: given.epsilon, threads: threadCount(given.threads))
  let report = try verifier.verify(against: original)
  if unsafe place != nil { try unsafe give(report.json.serialized(), place) }
  if let first = report.firstViolation {
    throw QCodecError(.boundViolated, first.reason, tensor: first.tensor, index: first.index)
  }
}
