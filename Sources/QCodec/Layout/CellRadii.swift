/// The worst error of each code of a scheme, in units of its scale: the bound that Spec/ErrorBounds.md proves.
struct CellRadii: Sendable {
  /// R(c) = r(c) + 2^-23 + δ·|t[c]| for each of the 2^bits codes.
  let radii: [Double]
  /// τ, the absolute rounding term of the tensor's dtype.
  let slack: Double

  /// The radii of a scheme with a known rounding over a sorted table.
  init(table: MapTable, scheme: Scheme, dtype: DType) {
    let entries = table.entries.map(Double.init)
    let last = table.distinctCount - 1
    let delta = Self.relativeRounding(dtype)
    radii = entries.indices.map { code in
      let cell = min(code, last)
      let (low, high) = Self.cell(cell, table: table, scheme: scheme)
      let entry = entries[cell]
      return max(entry - low, high - entry) + 0x1p-23 + delta * entry.magnitude
    }
    slack = Self.absoluteRounding(dtype)
  }

  /// δ: the unit roundoff of the dtype, 2^-8 and 2^-11; 0 where decoding rounds no further.
  private static func relativeRounding(_ dtype: DType) -> Double {
    switch dtype {
    case .bf16: 0x1p-8
    case .f16: 0x1p-11
    default: 0
    }
  }

  /// τ: the least positive float32, and the least positive value of the dtype where that is coarser.
  private static func absoluteRounding(_ dtype: DType) -> Double {
    switch dtype {
    case .bf16: 0x1p-133 + 0x1p-149
    case .f16: 0x1p-24 + 0x1p-149
    default: 0x1p-149
    }
  }

  /// The interval of y that distinct code `code` may stand for.
  private static func cell(_ code: Int, table: MapTable, scheme: Scheme) -> (Double, Double) {
    let least = table.signed ? -1.0 : 0.0
    let last = table.distinctCount - 1
    let entry = Double(table.entries[code])
    if scheme.rounding == .stochastic {
      let low = code == 0 ? least : Double(table.entries[code - 1])
      let high = code == last ? 1.0 : Double(table.entries[code + 1])
      return (min(low, entry), max(high, entry))
    }
    var low = code == 0 ? least : Double(table.thresholds[code - 1])
    var high = code == last ? 1.0 : Double(table.thresholds[code])
    if scheme.rounding == .nearestKeepNonzero, table.entries.contains(0) {
      if entry == 0 { return (0, 0) }
      // What would have taken the zero code comes to the smallest entries of either sign.
      if code > 0, table.entries[code - 1] == 0 { low = 0 }
      if code < last, table.entries[code + 1] == 0 { high = 0 }
    }
    return (min(low, entry), max(high, entry))
  }
}
