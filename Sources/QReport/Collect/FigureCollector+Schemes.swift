import QCheckpoint
import QCodec
import QVerify

extension FigureCollector {
  /// What one chunk, or some, of a quantized tensor hold.
  private struct ChunkFigures: Sendable {
    var codes: CodeHistogram
    var scales = ScaleHistogram()
    var magnitudes: MagnitudeHistogram?
  }

  /// Quantized tensors by scheme, those with the most elements first.
  func schemes(progress: (UInt64) -> Void) throws(QCodecError) -> [SchemeFigures] {
    var result: [Scheme: SchemeFigures] = [:]
    for index in 0..<reader.tensorCount {
      let info = reader.tensor(index)
      if var scheme = info.scheme {
        // Seeds may differ from tensor to tensor, and say nothing.
        scheme.seed = 0
        var figures = result[scheme] ?? SchemeFigures(scheme: scheme)
        try add(index, info, to: &figures)
        result[scheme] = figures
      }
      progress(info.sourceBytes)
    }
    return result.values.sorted { ($1.elements, $0.scheme.label) < ($0.elements, $1.scheme.label) }
  }

  private func add(_ index: Int, _ info: TensorInfo, to figures: inout SchemeFigures) throws(QCodecError) {
    guard let layout = try reader.layout(of: index) else { return }
    figures.tensors += 1
    figures.elements += info.elementCount
    for scale in try reader.scales(of: index) { figures.scales.add(scale) }
    let source = source(of: info)?.source
    let contents = try source.map { source throws(QCodecError) in (source, try reader.contents(of: index)) }
    let group = 2 * threads
    for start in stride(from: 0, to: layout.codeChunkCount, by: group) {
      let size = min(group, layout.codeChunkCount - start)
      let results = ResultSlots<ChunkFigures>(count: size)
      try parallelFor(count: size, threads: threads) { number throws(QCodecError) in
        let chunk = start + number
        var found = try self.codes(ofChunk: chunk, places: info.chunks, layout: layout)
        if let (source, contents) = contents {
          found.magnitudes = try Self.magnitudes(ofChunk: chunk, layout: layout, source, contents)
        }
        results[number] = found
      }
      // In order: sums of float64 depend on it.
      for result in results.inOrder {
        figures.codes.append(result.codes)
        figures.scales.append(result.scales)
        if let found = result.magnitudes { figures.magnitudes = figures.magnitudes.appending(found) }
      }
    }
  }

  /// Codes and block scales.
  private func codes(ofChunk chunk: Int, places: ChunkPlaces, layout: TensorLayout) throws(QCodecError) -> ChunkFigures
  {
    let payload = try reader.payload(ofChunk: places.data(chunk))
    var found = ChunkFigures(codes: CodeHistogram(bits: layout.scheme.bits))
    found.codes.add(payload, ofChunk: chunk, layout: layout)
    let isLog = layout.scheme.map == .log
    let end = layout.blockByteCount(elements: layout.elements(ofChunk: chunk).count)
    // Of the two ends of a `log` block the greater is its scale.
    for offset in stride(from: isLog ? 4 : 0, to: end, by: isLog ? 8 : 4) {
      found.scales.add(
        Float(
          bitPattern: UInt32(payload[offset]) | UInt32(payload[offset + 1]) << 8
            | UInt32(payload[offset + 2]) << 16 | UInt32(payload[offset + 3]) << 24))
    }
    return found
  }

  private static func magnitudes(
    ofChunk chunk: Int, layout: TensorLayout, _ source: any TensorSource, _ contents: TensorContents
  ) throws(QCodecError) -> MagnitudeHistogram {
    let range = layout.elements(ofChunk: chunk)
    let size = UInt64(layout.dtype.bitWidth / 8)
    let (offset, count) = (range.lowerBound * size, range.count * Int(size))
    let exact = try source.array(at: offset, count: count)
    let decoded = try contents.array(at: offset, count: count)
    var result = MagnitudeHistogram()
    for index in 0..<range.count {
      let value = PlainFloat.value(exact, index, dtype: layout.dtype)
      // What is not finite is a violation, and has no magnitude.
      guard value.isFinite else { continue }
      result.add(value, decoded: PlainFloat.value(decoded, index, dtype: layout.dtype))
    }
    return result
  }
}

extension MagnitudeHistogram? {
  fileprivate func appending(_ other: MagnitudeHistogram) -> MagnitudeHistogram {
    var result = self ?? MagnitudeHistogram()
    result.append(other)
    return result
  }
}

extension TensorSource {
  /// The bytes of a range.
  func array(at offset: UInt64, count: Int) throws(QCodecError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withMutableBytes { target throws(QCodecError) in try unsafe read(at: offset, into: target) }
    return bytes
  }
}
