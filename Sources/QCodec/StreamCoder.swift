/// Encodes and decodes whole streams over pointers; what `TensorCodec` and `MomentCodec` share.
package struct StreamCoder: Sendable {
  /// What the elements of a chunk, or some of them counted from its first, are divided by.
  package typealias Divisors = @Sendable (Int, Range<Int>?) throws(QCodecError) -> [Float]

  let layout: TensorLayout
  /// nil in the value domain.
  var divisors: Divisors?

  package init(layout: TensorLayout, divisors: Divisors? = nil) {
    self.layout = layout
    self.divisors = divisors
  }

  private func divisors(ofChunk index: Int, _ elements: Range<Int>? = nil) throws(QCodecError) -> [Float] {
    guard let divisors else { return [] }
    return try divisors(index, elements)
  }

  /// Where the source of a chunk lies in the tensor.
  private func sourceRange(ofChunk index: Int) -> Range<Int> {
    let start = index * TensorLayout.chunkElements * layout.elementSize
    return start..<start + layout.sourceByteCount(ofChunk: index)
  }

  /// Where the payload of a chunk lies in the stream.
  private func payloadRange(ofChunk index: Int) -> Range<Int> {
    let start = layout.streamOffset(ofChunk: index)
    return start..<start + layout.payloadByteCount(ofChunk: index)
  }

  // MARK: Encoding

  /// Encodes a tensor; both buffers have the layout's sizes.
  func encode(
    _ source: UnsafeRawBufferPointer, name: String, into stream: UnsafeMutableRawBufferPointer, threads: Int
  ) throws(QCodecError) -> TensorStatistics {
    let scales = try unsafe scaleVector(of: source, name: name)
    let encoder = try ChunkEncoder(layout: layout, name: name, scales: scales)
    unsafe scales.withUnsafeBytes { bytes in
      unsafe UnsafeMutableRawBufferPointer(rebasing: stream[..<bytes.count]).copyMemory(from: bytes)
    }
    let results = ResultSlots<TensorStatistics>(count: layout.codeChunkCount)
    // Safe: every chunk reads and writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let (source, stream) = unsafe (source, stream)
    try parallelFor(count: layout.codeChunkCount, threads: threads) { index throws(QCodecError) in
      results[index] = try unsafe encoder.encode(
        chunk: index, source: UnsafeRawBufferPointer(rebasing: source[sourceRange(ofChunk: index)]),
        divisors: divisors(ofChunk: index),
        into: UnsafeMutableRawBufferPointer(rebasing: stream[payloadRange(ofChunk: index)]))
    }
    return withCodecEnvironment {
      results.inOrder.reduce(into: TensorStatistics()) { $0.append($1) }
    }
  }

  private func scaleVector(of source: UnsafeRawBufferPointer, name: String) throws(QCodecError) -> [Float] {
    guard ScalePass.isNeeded(for: layout) else { return [] }
    let pass = ScalePass(layout: layout)
    var scan = ValueScan()
    for index in 0..<layout.codeChunkCount {
      try Cancellation.check()
      let chunk = unsafe UnsafeRawBufferPointer(rebasing: source[sourceRange(ofChunk: index)])
      // A poisoned scale would reach every element: values are looked over before scales are taken.
      unsafe scan.scan(source: chunk, dtype: layout.dtype, startingAt: layout.elements(ofChunk: index).lowerBound)
      if let found = scan.firstNonFinite { throw ValueScan.nonFinite(found, tensor: name) }
      try unsafe pass.accumulate(chunk: index, source: chunk, divisors: try divisors(ofChunk: index))
    }
    return pass.finish()
  }

  // MARK: Decoding

  /// Decodes elements of a stream into exactly their bytes.
  package func decode(
    _ elements: Range<UInt64>, of stream: UnsafeRawBufferPointer, into values: UnsafeMutableRawBufferPointer,
    threads: Int
  ) throws(QCodecError) {
    let decoder = try unsafe decoder(of: stream)
    guard !elements.isEmpty else { return }
    let chunks = layout.chunks(holding: elements)
    // Safe: every chunk writes bytes of its own, and the buffers outlive the call.
    nonisolated(unsafe) let (stream, values) = unsafe (stream, values)
    try parallelFor(count: chunks.count, threads: threads) { index throws(QCodecError) in
      let chunk = chunks.lowerBound + index
      let held = layout.elements(ofChunk: chunk)
      let wanted = held.clamped(to: elements)
      let to = Int(wanted.lowerBound - elements.lowerBound) * layout.elementSize
      let start = Int(wanted.lowerBound - held.lowerBound)
      let within = start..<start + Int(wanted.upperBound - wanted.lowerBound)
      try unsafe decoder.decode(
        chunk: chunk, payload: UnsafeRawBufferPointer(rebasing: stream[payloadRange(ofChunk: chunk)]),
        elements: within, divisors: divisors(ofChunk: chunk, within),
        into: UnsafeMutableRawBufferPointer(rebasing: values[to..<to + within.count * layout.elementSize]))
    }
  }

  /// The divisors that chunks of this stream, a second moment's, make.
  package func divisors(of stream: UnsafeRawBufferPointer) throws(QCodecError) -> Divisors {
    let decoder = try unsafe decoder(of: stream)
    // Safe: the caller keeps the stream alive for as long as it uses the function.
    nonisolated(unsafe) let stream = unsafe stream
    return { (index, elements) throws(QCodecError) in
      try unsafe decoder.divisors(
        chunk: index, payload: UnsafeRawBufferPointer(rebasing: stream[payloadRange(ofChunk: index)]),
        elements: elements)
    }
  }

  private func decoder(of stream: UnsafeRawBufferPointer) throws(QCodecError) -> ChunkDecoder {
    let scales = unsafe [Float](uninitialized: layout.scaleCount) { buffer, initialized in
      unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(
        from: .init(rebasing: stream[..<(layout.scaleCount * 4)]))
      initialized = layout.scaleCount
    }
    return try ChunkDecoder(layout: layout, scales: scales)
  }
}
