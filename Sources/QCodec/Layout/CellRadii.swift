/// The worst error of each code of a scheme, in units of its scale: the bound that Spec/ErrorBounds.md proves.
struct CellRadii: Sendable {
  /// R(c) = r(c) + a rounding term + δ·|t[c]| for each of the 2^bits codes.
  let radii: [Double]
  /// τ, the absolute rounding term of the tensor's dtype.
  let slack: Double

  /// What covers the rounding of the bound's own evaluation in float64.
  static let factor = 1 + 0x1p-40
  /// What covers scales, quotients and products of the update domain that are subnormal.
  static let updateUnderflow = 0x1p-140

  /// The radii of a scheme with a known rounding over a sorted table.
  init(table: MapTable, scheme: Scheme, dtype: DType) {
    let entries = table.entries.map(Double.init)
    let last = table.distinctCount - 1
    let delta = Self.relativeRounding(dtype)
    let rounding = scheme.domain == .update ? 0x1p-21 : 0x1p-23
    radii = entries.indices.map { code in
      let cell = min(code, last)
      let (low, high) = Self.cell(cell, table: table, scheme: scheme)
      let entry = entries[cell]
      return max(entry - low, high - entry) + rounding + delta * entry.magnitude
    }
    slack = Self.absoluteRounding(dtype)
  }

  /// δ: the unit roundoff of the dtype, 2^-8 and 2^-11; 0 where decoding rounds no further.
  static func relativeRounding(_ dtype: DType) -> Double {
    switch dtype {
    case .bf16: 0x1p-8
    case .f16: 0x1p-11
    default: 0
    }
  }

  /// The least positive value of the dtype where it is coarser than float32, else 0.
  static func narrowing(_ dtype: DType) -> Double {
    switch dtype {
    case .bf16: 0x1p-133
    case .f16: 0x1p-24
    default: 0
    }
  }

  /// τ: the least positive float32, and the least positive value of the dtype where that is coarser.
  private static func absoluteRounding(_ dtype: DType) -> Double { narrowing(dtype) + 0x1p-149 }

  /// The interval of y that distinct code `code` may stand for.
  private static func cell(_ code: Int, table: MapTable, scheme: Scheme) -> (Double, Double) {
    // A scale of the update domain may lie below its extreme by 2^-16 of it.
    let end = scheme.domain == .update ? 1 + 0x1p-15 : 1
    let least = table.signed ? -end : 0
    let last = table.distinctCount - 1
    let entry = Double(table.entries[code])
    if scheme.rounding == .stochastic {
      let low = code == 0 ? least : Double(table.entries[code - 1])
      let high = code == last ? end : Double(table.entries[code + 1])
      return (min(low, entry), max(high, entry))
    }
    var low = code == 0 ? least : Double(table.thresholds[code - 1])
    var high = code == last ? end : Double(table.thresholds[code])
    if scheme.rounding == .nearestKeepNonzero, table.entries.contains(0) {
      if entry == 0 { return (0, 0) }
      // What would have taken the zero code comes to the smallest entries of either sign.
      if code > 0, table.entries[code - 1] == 0 { low = 0 }
      if code < last, table.entries[code + 1] == 0 { high = 0 }
    }
    return (min(low, entry), max(high, entry))
  }
}
