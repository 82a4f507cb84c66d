// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCheckpoint
import QCodec

/// A writer across the ABI, with what goes into its metadata.
final class WriterBox {
  let writer: CheckpointWriter
  let nonFinite: NonFinitePolicy
  /// ε of the update to be measured.
  let epsilon: Double?
  /// What makes every element keep a bound, where one is asked for, and what it knows of roles and pairs.
  let bounds: (planner: BoundPlanner, roles: Policy)?
  var members: [String: JSONValue] = [:]

  init(
    _ options: UnsafePointer<qcodec_writer_options>?, _ make: (WriterOptions) throws(QCodecError) -> CheckpointWriter
  ) throws(QCodecError) {
    var given = unsafe qcodec_writer_options()
    unsafe qcodec_writer_options_init(&given)
    if let options = unsafe options {
      let size = unsafe options.pointee.struct_size
      let whole = unsafe MemoryLayout<qcodec_writer_options>.size
      // Options of callers who know of no bounds end before them.
      let short = unsafe MemoryLayout<qcodec_writer_options>.offset(of: \qcodec_writer_options.bound)
      guard size == whole || size == short else {
        throw invalid("options of \(size) bytes; qcodec_writer_options_init sets the size")
      }
      unsafe withUnsafeMutableBytes(of: &given) {
        unsafe $0.copyMemory(from: UnsafeRawBufferPointer(start: options, count: size))
      }
    }
    let (stage, level, epsilon) = unsafe (given.compression, given.zstd_level, given.measure_epsilon)
    guard let compression = UInt8(exactly: stage).flatMap(Compression.init(rawValue:)) else {
      throw invalid("\(stage) is no compression")
    }
    guard (-131_072...22).contains(level) else { throw invalid("\(level) is no level of zstd") }
    guard epsilon.isNaN || (epsilon >= 0 && epsilon.isFinite) else {
      throw invalid("measure_epsilon is to be 0 or more")
    }
    self.epsilon = epsilon.isNaN ? nil : epsilon
    let nonFinite: NonFinitePolicy = unsafe given.keep_nonfinite != 0 ? .raw : .error
    self.nonFinite = nonFinite
    var options = WriterOptions(
      compression: compression, zstdLevel: level, threads: threadCount(unsafe given.threads))
    if unsafe given.base != nil { options.base = try unsafe checkpoint(given.base) }
    if unsafe given.base_name != nil { options.baseName = try unsafe text(given.base_name, "base_name") }
    guard options.base != nil || options.baseName == nil else { throw invalid("base_name without a base") }
    let bound = try unsafe requestedBound(given)
    options.allowsEscapes = bound != nil
    let plain = options
    bounds = bound.flatMap { bound in
      Policy.preset(bound.presetName).map { roles in
        (BoundPlanner(bound, options: plain, nonFinite: nonFinite), roles)
      }
    }
    if let bound { members[RequestedBound.member] = bound.json }
    writer = try make(options)
  }

  /// Throws where a bound chooses how values are stored, and `what` would do so too.
  func refuseSchemes(_ what: String) throws(QCodecError) {
    guard bounds == nil else { throw invalid("a bound chooses schemes itself: it goes without a \(what)") }
  }

  /// A document to be a member of the metadata, while there is still a file to put it in.
  func document(_ json: UnsafePointer<CChar>?, _ length: Int) throws(QCodecError) -> JSONValue {
    guard writer.isOpen else { throw QCodecError(.writerClosed, "the checkpoint is already complete") }
    guard length <= 256 << 20 else { throw QCodecError(.limitExceeded, "metadata above 256 MiB") }
    return try JSONValue(parsing: unsafe textBytes(json, length, "json"))
  }

  deinit { writer.abort() }
}

/// The bound that the options ask for; nil for none.
private func requestedBound(_ given: qcodec_writer_options) throws(QCodecError) -> RequestedBound? {
  let (number, isOfRMS) = unsafe (given.bound, given.bound_is_of_rms)
  guard number != 0 else { return nil }
  let kinds = RequestedBound.Kind.allCases
  guard kinds.indices.contains(Int(number) - 1) else { throw invalid("\(number) is no kind of bound") }
  return try unsafe RequestedBound(
    kinds[Int(number) - 1], given.bound_value, isOfRMS: isOfRMS != 0, epsilon: given.bound_epsilon)
}

private func box(_ handle: OpaquePointer?) throws(QCodecError) -> WriterBox {
  try unsafe object(handle, WriterBox.self, "writer")
}

@c @implementation public func qcodec_writer_options_init(_ options: UnsafeMutablePointer<qcodec_writer_options>?) {
  unsafe options?.pointee = qcodec_writer_options(
    struct_size: MemoryLayout<qcodec_writer_options>.size, compression: Int32(Compression.lz4.rawValue), zstd_level: 1,
    threads: 0, keep_nonfinite: 0, measure_epsilon: .nan, base: nil, base_name: nil, bound: 0,
    bound_is_of_rms: 0, bound_value: .nan, bound_epsilon: 1e-8)
}

@c @implementation public func qcodec_writer_create(
  _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<qcodec_writer_options>?,
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let path = try unsafe text(path, "path")
      return try unsafe WriterBox(options) { options throws(QCodecError) in
        try CheckpointWriter(path: path, options: options)
      }
    }
  }
}

@c @implementation public func qcodec_writer_create_fd(
  _ descriptor: Int32, _ options: UnsafePointer<qcodec_writer_options>?,
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      try unsafe WriterBox(options) { options throws(QCodecError) in
        try CheckpointWriter(descriptor: descriptor, options: options)
      }
    }
  }
}

@c @implementation public func qcodec_writer_create_function(
  _ write: qcodec_write_function?, _ context: UnsafeMutableRawPointer?,
  _ options: UnsafePointer<qcodec_writer_options>?, _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in
      let take = try unsafe writing(write, context)
      return try unsafe WriterBox(options) { options throws(QCodecError) in
        try unsafe CheckpointWriter(writing: take, options: options)
      }
    }
  }
}

/// A caller's function as writers have it; throws for NULL.
func writing(
  _ write: qcodec_write_function?, _ context: UnsafeMutableRawPointer?
) throws(QCodecError) -> (UnsafeRawBufferPointer) throws(QCodecError) -> Void {
  guard let write = unsafe write else { throw invalid("write is NULL") }
  return { bytes throws(QCodecError) in
    if unsafe bytes.isEmpty { return }
    let status = unsafe write(context, bytes.baseAddress, bytes.count)
    guard status == 0 else { throw QCodecError(.io, "the caller's function failed to write, with \(status)") }
  }
}

@c @implementation public func qcodec_writer_set_metadata(
  _ handle: OpaquePointer?, _ json: UnsafePointer<CChar>?, _ length: Int, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe box(handle)
    let document = try unsafe box.document(json, length)
    guard document.objectValue != nil else { throw invalid("the metadata are no JSON object") }
    box.members["metadata"] = document
  }
}

@c @implementation public func qcodec_writer_set_member(
  _ handle: OpaquePointer?, _ member: UnsafePointer<CChar>?, _ json: UnsafePointer<CChar>?, _ length: Int,
  _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe box(handle)
    let member = try unsafe text(member, "member")
    guard !["metadata", "policy", "base", RequestedBound.member].contains(member) else {
      throw invalid("'\(member)' has a meaning of its own in the format")
    }
    box.members[member] = try unsafe box.document(json, length)
  }
}

// MARK: Tensors

@c @implementation public func qcodec_writer_add(
  _ handle: OpaquePointer?, _ tensors: UnsafePointer<qcodec_tensor>?, _ count: Int, _ policyHandle: OpaquePointer?,
  _ dropped: UnsafeMutablePointer<UInt8>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe box(handle)
    let policy: Policy
    if let bounds = box.bounds {
      if unsafe policyHandle != nil { try box.refuseSchemes("policy") }
      policy = bounds.roles
    } else {
      policy = try unsafe object(policyHandle, PolicyBox.self, "policy").policy
    }
    let tensors = try unsafe elements(tensors, count, "tensors")
    let batch = try unsafe Batch(tensors, policy: policy)
    if let planner = box.bounds?.planner {
      try box.writer.add(batch.additions, planning: planner, nonFinite: box.nonFinite, measuring: box.epsilon)
    } else {
      try box.writer.add(batch.additions, nonFinite: box.nonFinite, measuring: box.epsilon)
      box.members["policy"] = policy.json
    }
    for index in 0..<count { unsafe dropped?[index] = batch.isDropped[index] ? 1 : 0 }
  }
}

/// Tensors of one call with what a policy decides of them.
private struct Batch {
  private(set) var additions: [Addition] = []
  private(set) var isDropped: [Bool]

  init(_ tensors: UnsafeBufferPointer<qcodec_tensor>, policy: Policy) throws(QCodecError) {
    isDropped = Array(repeating: false, count: tensors.count)
    var summaries: [TensorSummary] = []
    for index in 0..<tensors.count { summaries.append(try unsafe tensors[index].summary()) }
    let plan = try policy.plan(summaries)
    var isPartner = isDropped
    for planned in plan { if let partner = planned.partner { isPartner[partner] = true } }
    func described(_ index: Int, _ stored: Policy.TensorPlan) throws(QCodecError) -> NewTensor {
      NewTensor(
        name: summaries[index].name, dtype: summaries[index].dtype, role: plan[index].role, encoding: stored.encoding,
        negativeFallsBack: stored.negativeFallsBack, compression: stored.compression,
        step: stored.step, source: try unsafe tensors[index].source())
    }
    for index in summaries.indices {
      guard case .encode(let stored) = plan[index].decision else {
        isDropped[index] = true
        continue
      }
      if isPartner[index] { continue }
      let tensor = try described(index, stored)
      guard let partner = plan[index].partner, case .encode(let other) = plan[partner].decision else {
        additions.append(.tensor(tensor, shape: summaries[index].shape))
        continue
      }
      additions.append(
        .pair(
          first: tensor, second: try described(partner, other), shape: summaries[index].shape,
          fallback: stored.fallback))
    }
  }
}

@c @implementation public func qcodec_writer_add_tensor(
  _ handle: OpaquePointer?, _ tensor: UnsafePointer<qcodec_tensor>?, _ schemeHandle: OpaquePointer?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let (box, tensor) = (try unsafe box(handle), try unsafe described(tensor))
    if unsafe schemeHandle != nil { try box.refuseSchemes("scheme") }
    let summary = try unsafe tensor.summary()
    try unsafe box.writer.add(
      name: summary.name, dtype: summary.dtype, shape: summary.shape, role: summary.role,
      encoding: unsafe encoding(schemeHandle), source: tensor.source(), nonFinite: box.nonFinite)
  }
}

private func described(_ tensor: UnsafePointer<qcodec_tensor>?) throws(QCodecError) -> qcodec_tensor {
  guard let tensor = unsafe tensor else { throw invalid("tensor is NULL") }
  return unsafe tensor.pointee
}

private func encoding(_ handle: OpaquePointer?) throws(QCodecError) -> Encoding {
  unsafe handle == nil ? .lossless(reason: .none) : .quantized(try scheme(handle))
}

@c @implementation public func qcodec_writer_add_pushed(
  _ handle: OpaquePointer?, _ tensor: UnsafePointer<qcodec_tensor>?, _ schemeHandle: OpaquePointer?,
  _ next: qcodec_next_function?, _ context: UnsafeMutableRawPointer?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let (box, tensor) = (try unsafe box(handle), try unsafe described(tensor))
    if unsafe schemeHandle != nil { try box.refuseSchemes("scheme") }
    let summary = try unsafe tensor.summary()
    guard let next = unsafe next else { throw invalid("next is NULL") }
    let total = try summary.dtype.byteCount(elements: TensorLayout.elementCount(of: summary.shape))
    try box.writer.add(
      name: summary.name, dtype: summary.dtype, shape: summary.shape, role: summary.role,
      encoding: unsafe encoding(schemeHandle)
    ) { sink throws(QCodecError) in
      try unsafe push(total, into: sink, next, context)
    }
  }
}

private func push(
  _ total: UInt64, into sink: TensorSink, _ next: qcodec_next_function, _ context: UnsafeMutableRawPointer?
) throws(QCodecError) {
  let capacity = Int(min(total, 1 << 20))
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(capacity, 1), alignment: 64)
  defer { unsafe buffer.deallocate() }
  while sink.byteCount < total {
    var size = 0
    let room = Int(min(UInt64(capacity), total - sink.byteCount))
    let status = unsafe next(context, buffer.baseAddress, room, &size)
    guard status == 0 else { throw QCodecError(.io, "the caller's function failed to deliver, with \(status)") }
    guard (1...room).contains(size) else {
      throw QCodecError(.shapeMismatch, "the caller's function delivered \(size) of at most \(room) bytes")
    }
    try unsafe sink.append(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: buffer[..<size])))
  }
}

@c @implementation public func qcodec_writer_add_import(
  _ handle: OpaquePointer?, _ tensor: UnsafePointer<qcodec_tensor>?, _ schemeHandle: OpaquePointer?,
  _ scales: UnsafeRawPointer?, _ scalesSize: Int, _ codes: UnsafeRawPointer?, _ codesSize: Int, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let (box, tensor) = (try unsafe box(handle), try unsafe described(tensor))
    let summary = try unsafe tensor.summary()
    try box.writer.addImport(
      name: summary.name, dtype: summary.dtype, shape: summary.shape, role: summary.role,
      scheme: unsafe scheme(schemeHandle), scales: unsafe BorrowedSource(bytes(scales, scalesSize, "scales")),
      codes: unsafe BorrowedSource(bytes(codes, codesSize, "codes")))
  }
}

/// A tensor that is a stream: what is to be added, and its layout.
private func coded(
  _ tensor: UnsafePointer<qcodec_tensor>?, _ schemeHandle: OpaquePointer?
) throws(QCodecError) -> (summary: TensorSummary, layout: TensorLayout) {
  var described = try unsafe described(tensor)
  unsafe described.dtype = Int32(DType.f32.rawValue)
  let summary = try unsafe described.summary()
  var scheme = try unsafe scheme(schemeHandle)
  guard scheme.rounding != .unknown else {
    throw QCodecError(.unsupportedScheme, "an import is added by its codes and scales", tensor: summary.name)
  }
  // What lies on entries already is not rounded at all; stochastic rounding would toss a coin over the last bit.
  if scheme.rounding == .stochastic { (scheme.rounding, scheme.seed) = (.nearest, 0) }
  return (summary, try TensorLayout(dtype: .f32, shape: summary.shape, scheme: scheme))
}

extension TensorSummary {
  fileprivate func new(_ layout: TensorLayout, _ source: StreamSource) -> NewTensor {
    NewTensor(name: name, dtype: .f32, role: role, encoding: .quantized(layout.scheme), source: source)
  }
}

@c @implementation public func qcodec_writer_add_stream(
  _ handle: OpaquePointer?, _ tensor: UnsafePointer<qcodec_tensor>?, _ schemeHandle: OpaquePointer?,
  _ stream: UnsafeRawPointer?, _ streamSize: Int, _ second: UnsafePointer<qcodec_tensor>?,
  _ secondHandle: OpaquePointer?, _ secondStream: UnsafeRawPointer?, _ secondSize: Int, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe box(handle)
    let (summary, layout) = try unsafe coded(tensor, schemeHandle)
    let own = try unsafe bytes(stream, streamSize, "stream")
    guard unsafe second != nil else {
      let new = try unsafe summary.new(layout, StreamSource(layout, own))
      try box.writer.add([.tensor(new, shape: summary.shape)])
      return
    }
    let (secondSummary, secondLayout) = try unsafe coded(second, secondHandle)
    let other = try unsafe bytes(secondStream, secondSize, "second_stream")
    guard layout.scheme.domain == .update, secondLayout.scheme.isReferable, summary.shape == secondSummary.shape else {
      throw QCodecError(.unsupportedScheme, "no pair of the update domain", tensor: summary.name)
    }
    let first = try unsafe summary.new(layout, StreamSource(layout, own, second: (secondLayout, other)))
    try unsafe box.writer.addPair(
      first: first, second: secondSummary.new(secondLayout, StreamSource(secondLayout, other)), shape: summary.shape)
  }
}

// MARK: The end

@c @implementation public func qcodec_writer_commit(
  _ handle: OpaquePointer?, _ written: UnsafeMutablePointer<qcodec_written>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let box = try unsafe box(handle)
    if !box.members.isEmpty { try box.writer.setMetadata(.object(box.members)) }
    let summary = try box.writer.finish()
    unsafe written?.pointee = qcodec_written(
      file_bytes: summary.fileBytes, stored_bytes: summary.storedBytes, source_bytes: summary.sourceBytes,
      tensors: UInt64(summary.tensors), elements: summary.elements)
  }
}

@c @implementation public func qcodec_writer_abort(_ handle: OpaquePointer?) {
  (try? unsafe box(handle))?.writer.abort()
}

@c @implementation public func qcodec_writer_free(_ handle: OpaquePointer?) { unsafe release(handle, WriterBox.self) }
