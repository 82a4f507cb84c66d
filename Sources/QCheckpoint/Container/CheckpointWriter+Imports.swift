import QCodec

extension CheckpointWriter {
  /// Adds a tensor that another system quantized, its codes and scales as they are; nothing is quantized anew.
  ///
  /// - Parameters:
  ///   - name: 1 byte to 64 KiB of UTF-8, unlike every other.
  ///   - dtype: the type that it decodes to.
  ///   - shape: up to 32 lengths.
  ///   - role: what the tensor is to the optimizer.
  ///   - scheme: map, bits, scaling and signedness by which codes are read; recorded with `unknown` rounding and scale rule,
  ///     so that nothing is guaranteed. A custom table may be marked an import, of any order and range.
  ///   - scales: float32, one for each block in C order, or the scale vector of row, column and rank1 scaling.
  ///   - codes: a string of bits, the first code first and the most significant bit of each first; zeros behind the last.
  ///
  /// Throws as `add(name:dtype:shape:role:encoding:source:nonFinite:negativeFallsBack:)`; `unsupportedScheme` for `log`,
  /// the update domain and a scaling that the shape does not have; `shapeMismatch` for sources of another size;
  /// `invalidScale` with its byte among the scales and `invalidCode` with its element, or its byte among the codes, for
  /// what no reader would take; these abort the file.
  public func addImport(
    name: String, dtype: DType = .f32, shape: [UInt64], role: Role = .other, scheme: Scheme,
    scales: any TensorSource, codes: any TensorSource
  ) throws(QCodecError) {
    let tensor = TensorDescription(name: name, dtype: dtype, shape: shape, role: role, compression: nil)
    _ = try check(tensor)
    let layout = try Self.importLayout(of: tensor, scheme)
    let sizes = (scales: layout.streamByteCount - layout.codeByteCount, codes: layout.codeByteCount)
    guard scales.byteCount == sizes.scales, codes.byteCount == sizes.codes else {
      throw QCodecError(
        .shapeMismatch,
        "\(scales.byteCount) bytes of scales and \(codes.byteCount) of codes, where the tensor has \(sizes.scales) and "
          + "\(sizes.codes)", tensor: name)
    }
    try writing([tensor]) { () throws(QCodecError) in
      let vector = layout.scaleCount > 0 ? try Self.floats(of: scales, count: layout.scaleCount) : []
      let chunks = try ChunkPreparation(tensor, layout: layout, scales: vector, options: options, pool: pool)
      let decoder = try ChunkDecoder(layout: layout, scales: vector)
      var opened = try open(tensor, layout: layout, reason: .none)
      try writeChunks(layout.scaleChunkCount, to: &opened) { index throws(QCodecError) in
        try chunks.prepare(scales: vector[layout.scales(ofChunk: index)], chunk: index)
      }
      try writeChunks(layout.codeChunkCount, to: &opened) { [pool] index throws(QCodecError) in
        let part = layout.importPart(ofChunk: index)
        let payload = pool.buffer(part.scaleBytes + part.codeBytes)
        try unsafe scales.read(at: part.scales, into: .init(rebasing: payload.bytes[..<part.scaleBytes]))
        try unsafe codes.read(at: part.codes, into: .init(rebasing: payload.bytes[part.scaleBytes...]))
        do throws(QCodecError) { try unsafe decoder.check(chunk: index, payload: payload.contents) } catch {
          throw part.located(error)
        }
        return try chunks.finish(payload, kind: .codes, chunk: chunks.plan.scaleChunks + index)
      }
      // Nothing is known of the encoder.
      opened.record.statistics.guaranteedMaxAbsError = .nan
      close(tensor, opened.record)
    }
  }

  private static func importLayout(of tensor: TensorDescription, _ scheme: Scheme) throws(QCodecError) -> TensorLayout {
    var scheme = scheme
    (scheme.rounding, scheme.scaleRule, scheme.seed) = (.unknown, .unknown, 0)
    guard scheme.map != .log, scheme.domain == .value else {
      throw QCodecError(.unsupportedScheme, "log and the update domain are no imports", tensor: tensor.name)
    }
    do throws(QCodecError) {
      let layout = try TensorLayout(dtype: tensor.dtype, shape: tensor.shape, scheme: scheme)
      guard layout.scheme.scaling == scheme.scaling else {
        throw QCodecError(
          .unsupportedScheme,
          "\(scheme.scaling.name) scaling of \(tensor.shape) is \(layout.scheme.scaling.name) scaling")
      }
      return layout
    } catch {
      throw error.named(tensor.name)
    }
  }

  private static func floats(of source: any TensorSource, count: Int) throws(QCodecError) -> [Float] {
    let bytes = try source.bytes(at: 0, count: 4 * count)
    return unsafe bytes.withUnsafeBytes { bytes in
      (0..<count).map { Float(bitPattern: unsafe bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)) }
    }
  }
}

extension TensorLayout {
  /// Bytes of all codes, without scales.
  var codeByteCount: Int { Self.codeByteCount(elements: Int(elementCount), bits: scheme.bits) }

  /// Where a chunk's block scales and codes lie among those of the whole tensor.
  func importPart(ofChunk index: Int) -> ImportPart {
    let range = elements(ofChunk: index)
    let count = Int(range.upperBound - range.lowerBound)
    let scaleBytes = blockByteCount(elements: count)
    let whole = UInt64(index)
    // Chunks before this one are whole, and their codes whole bytes.
    return ImportPart(
      scales: whole * UInt64(blockByteCount(elements: Self.chunkElements)), scaleBytes: scaleBytes,
      codes: range.lowerBound / 8 * UInt64(scheme.bits), codeBytes: payloadByteCount(ofChunk: index) - scaleBytes)
  }
}

/// Where a chunk's block scales and codes begin among those of the whole tensor, and how many bytes they have.
struct ImportPart {
  let scales: UInt64
  let scaleBytes: Int
  let codes: UInt64
  let codeBytes: Int

  /// An error with a place in the chunk, with that among the scales or codes as they were given.
  func located(_ error: QCodecError) -> QCodecError {
    guard let offset = error.offset else { return error }
    var located = error
    let isScale = offset < UInt64(scaleBytes)
    located.offset = isScale ? scales + offset : codes + (offset - UInt64(scaleBytes))
    return located
  }
}
