import QCodec

/// What a tensor's values may turn its scheme into.
struct FallbackChoice {
  let name: String
  let nonFinite: NonFinitePolicy
  let negativeFallsBack: Bool
}

/// The look at a whole tensor before its first byte is written: its scale vector, or why it is to be lossless.
struct FirstPass {
  /// nil where the tensor is to be lossless.
  let scales: [Float]?
  let reason: FallbackReason
  /// What was seen of the values; nothing where no decision depended on them.
  let scan: ValueScan

  /// Looks over a tensor that is to be quantized in the value domain.
  ///
  /// - Parameter isWhole: to look at every value even if nothing here depends on it.
  ///
  /// Throws `nonFiniteValue` and `negativeValue` with the element; non-finite values count before negative ones.
  static func run(
    _ source: any TensorSource, layout: TensorLayout, choice: FallbackChoice, isWhole: Bool = false
  ) throws(QCodecError) -> FirstPass {
    let needsScales = ScalePass.isNeeded(for: layout)
    let scansNegative = !layout.scheme.signed && choice.negativeFallsBack
    var scan = ValueScan()
    // Otherwise the encoder meets every value that decides anything, and then the whole file is given up.
    guard needsScales || scansNegative || isWhole || choice.nonFinite == .raw else {
      return FirstPass(scales: [], reason: .none, scan: scan)
    }
    let pass = ScalePass(layout: layout)
    for index in 0..<layout.codeChunkCount {
      let bytes = try source.chunk(index, of: layout)
      let first = layout.elements(ofChunk: index).lowerBound
      unsafe bytes.withUnsafeBytes { unsafe scan.scan(source: $0, dtype: layout.dtype, startingAt: first) }
      if let found = scan.firstNonFinite {
        guard choice.nonFinite == .raw else { throw ValueScan.nonFinite(found, tensor: choice.name) }
        return FirstPass(scales: nil, reason: .nonFinite, scan: scan)
      }
      if needsScales {
        try unsafe bytes.withBytes { bytes throws(QCodecError) in
          try unsafe pass.accumulate(chunk: index, source: bytes)
        }
      }
    }
    if let found = scan.firstNegative, !layout.scheme.signed {
      guard choice.negativeFallsBack else { throw ValueScan.negative(found, tensor: choice.name) }
      return FirstPass(scales: nil, reason: .negative, scan: scan)
    }
    return FirstPass(scales: pass.finish(), reason: .none, scan: scan)
  }
}
