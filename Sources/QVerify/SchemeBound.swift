import QCodec

/// The bound that Spec/ErrorBounds.md proves, computed anew: nothing here is shared with the encoder.
struct SchemeBound {
  /// R(c) of each code; nil under unknown rounding, which guarantees nothing.
  let radii: [Double]?
  /// τ.
  let absolute: Double
  /// Ω, the largest finite value of the dtype.
  private let greatest: Double
  private let isUpdate: Bool

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
    isUpdate = layout.scheme.domain == .update
    radii = layout.scheme.rounding == .unknown ? nil : layout.table.map { Self.radii($0, layout) }
  }

  /// The bounds on |m − m̂| of one element of the update domain, and on |m − m̂| / d; nil where nothing is guaranteed.
  func bounds(code: Int, scale: Float, divisor: Float) -> (absolute: Double, relative: Double)? {
    guard let radii else { return nil }
    let quotient = Double(scale.magnitude) * radii[code] + 0x1p-140
    let factor = 1 + 0x1p-40
    return (
      (quotient * Double(divisor) + absolute) * factor, (quotient + absolute / Double(divisor)) * factor
    )
  }

  /// The bound on |x − x̂| of one element; nil where nothing is guaranteed.
  func bound(code: Int, scale: Float) -> Double? {
    guard let radii else { return nil }
    if scale == 0 { return 0 }
    // Beyond Ω the conversion to the dtype may overflow; no encoder writes such a scale.
    if Double(scale.magnitude) > greatest { return .infinity }
    return (Double(scale.magnitude) * radii[code] + absolute) * (1 + 0x1p-40)
  }

  private static func radii(_ map: MapTable, _ layout: TensorLayout) -> [Double] {
    let table = map.entries.map { Double($0) }
    let rounding = layout.scheme.domain == .update ? 0x1p-21 : 0x1p-23
    // Padding repeats the last entry.
    let last = table.firstIndex(of: 1) ?? table.count - 1
    let distinct = Array(table[...last])
    let relative: Double = layout.dtype == .bf16 ? 0x1p-8 : layout.dtype == .f16 ? 0x1p-11 : 0
    return table.indices.map { code in
      let entry = min(code, last)
      let ends = ends(of: entry, in: distinct, layout: layout)
      let radius = max(distinct[entry] - ends.low, ends.high - distinct[entry], 0)
      return radius + rounding + relative * distinct[entry].magnitude
    }
  }

  /// The least and the greatest y that may have taken an entry.
  private static func ends(of entry: Int, in table: [Double], layout: TensorLayout) -> (low: Double, high: Double) {
    // A scale of the update domain is rounded and may lie below its extreme.
    let top = layout.scheme.domain == .update ? 1 + 0x1p-15 : 1
    let bottom = layout.scheme.signed ? -top : 0
    let below = entry > 0 ? table[entry - 1] : bottom
    let above = entry + 1 < table.count ? table[entry + 1] : top
    if layout.scheme.rounding == .stochastic { return (below, above) }
    // Thresholds are float32.
    let threshold = { (low: Double, high: Double) in Double(Float((low + high) / 2)) }
    var low = entry > 0 ? threshold(below, table[entry]) : bottom
    var high = entry + 1 < table.count ? threshold(table[entry], above) : top
    if layout.scheme.rounding == .nearestKeepNonzero, table.contains(0) {
      if table[entry] == 0 { return (0, 0) }
      if entry > 0, below == 0 { low = 0 }
      if entry + 1 < table.count, above == 0 { high = 0 }
    }
    return (low, high)
  }
}
