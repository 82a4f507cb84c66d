import QCheckpoint
import QCodec
import QVerify

extension FigureCollector {
  /// What one chunk, or some, of a quantized tensor hold.
  private struct ChunkFigures: Sendable {
    let profile: TensorProfile
    var magnitudes: MagnitudeHistogram?
  }

  /// Quantized tensors by scheme, those with the most elements first, among equals in the order of the directory.
  func schemes(progress: (UInt64) -> Void) throws(QCodecError) -> [SchemeFigures] {
    var result: [SchemeFigures] = []
    var places: [Scheme: Int] = [:]
    for index in 0..<reader.tensorCount {
      let info = reader.tensor(index)
      if var scheme = info.scheme {
        // Seeds may differ from tensor to tensor, and say nothing.
        scheme.seed = 0
        let place = places[scheme] ?? result.count
        if place == result.count {
          places[scheme] = place
          result.append(SchemeFigures(scheme: scheme))
        }
        try add(index, info, to: &result[place])
      }
      progress(info.sourceBytes)
    }
    return result.enumerated().sorted { ($1.element.elements, $0.offset) < ($0.element.elements, $1.offset) }
      .map(\.element)
  }

  private func add(_ index: Int, _ info: TensorInfo, to figures: inout SchemeFigures) throws(QCodecError) {
    guard let layout = try reader.layout(of: index) else { return }
    figures.tensors += 1
    figures.elements += info.elementCount
    figures.profile.append(TensorProfile(bits: layout.scheme.bits, scales: try reader.scales(of: index)))
    let source = source(of: info)?.source
    let contents = try source.map { source throws(QCodecError) in (source, try reader.contents(of: index)) }
    let group = 2 * threads
    for start in stride(from: 0, to: layout.codeChunkCount, by: group) {
      let size = min(group, layout.codeChunkCount - start)
      let results = ResultSlots<ChunkFigures>(count: size)
      try parallelFor(count: size, threads: threads) { number throws(QCodecError) in
        let chunk = start + number
        let payload = try reader.payload(ofChunk: info.chunks.data(chunk))
        var found = ChunkFigures(profile: TensorProfile(payload, ofChunk: chunk, layout: layout))
        if let (source, contents) = contents {
          found.magnitudes = try Self.magnitudes(ofChunk: chunk, layout: layout, source, contents)
        }
        results[number] = found
      }
      // In order: sums of float64 depend on it.
      for result in results.inOrder {
        figures.profile.append(result.profile)
        if let found = result.magnitudes { figures.magnitudes = figures.magnitudes.appending(found) }
      }
    }
  }

  private static func magnitudes(
    ofChunk chunk: Int, layout: TensorLayout, _ source: any TensorSource, _ contents: TensorContents
  ) throws(QCodecError) -> MagnitudeHistogram {
    let range = layout.elements(ofChunk: chunk)
    let size = UInt64(layout.dtype.bitWidth / 8)
    let (offset, count) = (range.lowerBound * size, range.count * Int(size))
    let exact = try source.bytes(at: offset, count: count)
    let decoded = try contents.bytes(at: offset, count: count)
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
