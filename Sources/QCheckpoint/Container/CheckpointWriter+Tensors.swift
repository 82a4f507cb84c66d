import QCodec

/// What a caller says of a tensor to be added.
struct TensorDescription {
  let name: String
  let dtype: DType
  let shape: [UInt64]
  let role: Role
}

/// A tensor whose chunks are being written.
struct OpenTensor {
  /// What the directory will say; statistics grow with the chunks.
  var record: TensorRecord
  let preamble: Preamble
  /// Its place in the order of addition.
  let number: UInt32
  /// Its place in the order of first chunks, once it has one.
  var ordinal: UInt32 = 0
}

/// What a tensor's values may turn its scheme into.
struct FallbackChoice {
  let name: String
  let nonFinite: NonFinitePolicy
  let negativeFallsBack: Bool
}

extension CheckpointWriter {
  /// Writes the chunks of a tensor that can be read again; returns its record.
  func write(
    _ tensor: TensorDescription, encoding: Encoding, layout: TensorLayout?, source: any TensorSource,
    choice: FallbackChoice
  ) throws(QCodecError) -> TensorRecord {
    var scales: [Float] = []
    var (layout, reason) = (layout, encoding.reason)
    if let quantized = layout {
      let pass = try firstPass(source, layout: quantized, choice: choice)
      if let found = pass.scales { scales = found } else { (layout, reason) = (nil, pass.reason) }
    }
    var open = try self.open(tensor, layout: layout, reason: reason)
    let chunks = try preparation(tensor, layout: layout, scales: scales)
    try writeScales(scales, layout: layout, to: &open)
    do throws(QCodecError) {
      try writeChunks(Int(chunks.plan.dataChunks), to: &open) { index throws(QCodecError) in
        let range = chunks.sourceRange(ofChunk: index)
        let bytes = try source.bytes(at: range.lowerBound, count: Int(range.upperBound - range.lowerBound))
        return try chunks.prepare(index, bytes)
      }
    } catch {
      guard error.code == .negativeValue, let layout else { throw error }
      // What is not finite counts wherever it stands; the encoder may not have come to it.
      _ = try firstPass(source, layout: layout, choice: choice, isThorough: true)
      throw error
    }
    return open.record
  }

  /// Begins a tensor whose layout is settled; nil for lossless.
  func open(
    _ tensor: TensorDescription, layout: TensorLayout?, reason: FallbackReason
  ) throws(QCodecError) -> OpenTensor {
    var record = TensorRecord(dtype: tensor.dtype, role: tensor.role)
    record.elementCount = try TensorLayout.elementCount(of: tensor.shape)
    record.sourceBytes = try tensor.dtype.byteCount(elements: record.elementCount)
    record.dimCount = UInt8(tensor.shape.count)
    record.firstChunk = UInt64(chunks.count)
    record.reason = layout == nil ? reason : .none
    record.scheme = layout?.scheme
    record.table = layout?.table
    if layout != nil { record.guaranteedRelative = .nan }
    let preamble = Preamble(
      name: Array(tensor.name.utf8), dtype: tensor.dtype, shape: tensor.shape, scheme: layout?.scheme)
    return OpenTensor(record: record, preamble: preamble, number: UInt32(tensors.count))
  }

  func preparation(
    _ tensor: TensorDescription, layout: TensorLayout?, scales: [Float]
  ) throws(QCodecError) -> ChunkPreparation {
    let elements = try TensorLayout.elementCount(of: tensor.shape)
    let plan = ChunkPlan(layout: layout, sourceBytes: try tensor.dtype.byteCount(elements: elements))
    let encoder = try layout.map { layout throws(QCodecError) in
      try ChunkEncoder(layout: layout, name: tensor.name, scales: scales)
    }
    return ChunkPreparation(plan: plan, encoder: encoder, planes: tensor.dtype.planeCount, options: options)
  }

  /// Looks the tensor over: its scale vector, or nil with the reason why it is to be lossless.
  ///
  /// A value that is not finite decides over a negative one, whichever comes first.
  private func firstPass(
    _ source: any TensorSource, layout: TensorLayout, choice: FallbackChoice, isThorough: Bool = false
  ) throws(QCodecError) -> (scales: [Float]?, reason: FallbackReason) {
    let scansNegative = !layout.scheme.signed && choice.negativeFallsBack
    let needsScales = ScalePass.isNeeded(for: layout)
    // Otherwise the encoder meets every value that decides anything, and then the whole file is given up.
    guard isThorough || needsScales || scansNegative || choice.nonFinite == .raw else { return ([], .none) }
    let pass = ScalePass(layout: layout)
    var scan = ValueScan()
    for index in 0..<layout.codeChunkCount {
      let bytes = try source.chunk(index, of: layout)
      let first = layout.elements(ofChunk: index).lowerBound
      unsafe bytes.withUnsafeBytes { unsafe scan.scan(source: $0, dtype: layout.dtype, startingAt: first) }
      if let found = scan.firstNonFinite {
        if choice.nonFinite == .raw { return (nil, .nonFinite) }
        throw ValueScan.nonFinite(found, tensor: choice.name)
      }
      if needsScales {
        try unsafe bytes.withBytes { bytes throws(QCodecError) in
          try unsafe pass.accumulate(chunk: index, source: bytes)
        }
      }
    }
    if let found = scan.firstNegative, !layout.scheme.signed {
      if choice.negativeFallsBack { return (nil, .negative) }
      throw ValueScan.negative(found, tensor: choice.name)
    }
    return (pass.finish(), .none)
  }

  // MARK: Chunks

  private func writeScales(
    _ scales: [Float], layout: TensorLayout?, to tensor: inout OpenTensor
  ) throws(QCodecError) {
    guard let layout else { return }
    let options = self.options
    try writeChunks(layout.scaleChunkCount, to: &tensor) { index throws(QCodecError) in
      let range = layout.scales(ofChunk: index)
      let bytes = unsafe scales[range].withUnsafeBytes { unsafe [UInt8]($0) }
      return try PreparedChunk(bytes, kind: .scales, options: options)
    }
  }

  /// Prepares chunks on the threads, a few at a time, and writes them in order.
  func writeChunks(
    _ count: Int, to tensor: inout OpenTensor,
    prepare: @escaping @Sendable (Int) throws(QCodecError) -> PreparedChunk
  ) throws(QCodecError) {
    for start in stride(from: 0, to: count, by: groupSize) {
      let size = min(groupSize, count - start)
      let results = ResultSlots<PreparedChunk>(count: size)
      try parallelFor(count: size, threads: options.threads) { index throws(QCodecError) in
        results[index] = try prepare(start + index)
      }
      for chunk in results.inOrder {
        withCodecEnvironment { tensor.record.statistics.append(chunk.statistics) }
        try append(chunk, to: &tensor)
      }
    }
  }

  /// Chunks that are in memory at a time.
  var groupSize: Int { options.threads * 2 }
}

extension Encoding {
  /// Why a lossless tensor is not quantized.
  var reason: FallbackReason { if case .lossless(let reason) = self { reason } else { .none } }
}

extension TensorSource {
  /// The bytes of a range.
  func bytes(at offset: UInt64, count: Int) throws(QCodecError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withMutableBytes { buffer throws(QCodecError) in try unsafe read(at: offset, into: buffer) }
    return bytes
  }

  /// The source of a code chunk.
  func chunk(_ index: Int, of layout: TensorLayout) throws(QCodecError) -> [UInt8] {
    let offset = layout.elements(ofChunk: index).lowerBound * UInt64(layout.dtype.bitWidth / 8)
    return try bytes(at: offset, count: layout.sourceByteCount(ofChunk: index))
  }
}
