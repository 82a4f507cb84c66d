import QCodec

/// The bound that Spec/ErrorBounds.md proves, computed anew: nothing here is shared with the encoder.
struct SchemeBound {
  /// R(c) of each code; nil under unknown rounding, which guarantees nothing.
  let radii: [Double]?
  /// τ.
  let absolute: Double
  /// Ω, the largest finite value of the dtype.
  private let greatest: Double

  init(layout: TensorLayout) {
    absolute =
      switch layout.dtype {
      case .bf16: 0x1p-133 + 0x1p-149
      case .f16: 0x1p-24 + 0x1p-149
      default: 0x1p-149
      }
    greatest =
      switch layout.dtype {
      case .bf16: 0x1.FEp127
      case .f16: 65_504
      default: 0x1.FFFFFEp127
      }
    radii = layout.scheme.rounding == .unknown ? nil : Self.radii(layout)
  }

  /// The bound on |x − x̂| of one element; nil where nothing is guaranteed.
  func bound(code: Int, scale: Float) -> Double? {
    guard let radii else { return nil }
    if scale == 0 { return 0 }
    // Beyond Ω the conversion to the dtype may overflow; no encoder writes such a scale.
    if Double(scale.magnitude) > greatest { return .infinity }
    return (Double(scale.magnitude) * radii[code] + absolute) * (1 + 0x1p-40)
  }

  private static func radii(_ layout: TensorLayout) -> [Double] {
    let table = layout.table.entries.map { Double($0) }
    // Padding repeats the last entry.
    let last = table.firstIndex(of: 1) ?? table.count - 1
    let distinct = Array(table[...last])
    let relative: Double = layout.dtype == .bf16 ? 0x1p-8 : layout.dtype == .f16 ? 0x1p-11 : 0
    return table.indices.map { code in
      let entry = min(code, last)
      let ends = ends(of: entry, in: distinct, layout: layout)
      let radius = max(distinct[entry] - ends.low, ends.high - distinct[entry], 0)
      return radius + 0x1p-23 + relative * distinct[entry].magnitude
    }
  }

  /// The least and the greatest y that may have taken an entry.
  private static func ends(of entry: Int, in table: [Double], layout: TensorLayout) -> (low: Double, high: Double) {
    let bottom: Double = layout.scheme.signed ? -1 : 0
    let below = entry > 0 ? table[entry - 1] : bottom
    let above = entry + 1 < table.count ? table[entry + 1] : 1
    if layout.scheme.rounding == .stochastic { return (below, above) }
    // Thresholds are float32.
    let threshold = { (low: Double, high: Double) in Double(Float((low + high) / 2)) }
    var low = entry > 0 ? threshold(below, table[entry]) : bottom
    var high = entry + 1 < table.count ? threshold(table[entry], above) : 1
    if layout.scheme.rounding == .nearestKeepNonzero, table.contains(0) {
      if table[entry] == 0 { return (0, 0) }
      if entry > 0, below == 0 { low = 0 }
      if entry + 1 < table.count, above == 0 { high = 0 }
    }
    return (low, high)
  }
}
