extension MapTable {
  /// The table of a named map; throws `unsupportedScheme` where the map has none of that width and signedness.
  ///
  /// `dynamic` is the map of *8-bit Optimizers via Block-wise Quantization* (arXiv:2110.02861, section 2.1) as
  /// bitsandbytes and torchao build it; `linear-nozero`, unsigned, that of *Memory Efficient Optimizers with 4-bit
  /// States* (arXiv:2309.01507, section 3); `normal` the NormalFloat table of bitsandbytes; `cubic` is of this project
  /// (Spec/Maps.md).
  public static func named(_ map: Scheme.Map, bits: Int, signed: Bool) throws(QCodecError) -> MapTable {
    switch (map, bits, signed) {
    case (.dynamic, 8, true): dynamicSigned8
    case (.dynamic, 8, false): dynamicUnsigned8
    case (.dynamic, 4, true): dynamicSigned4
    case (.dynamic, 4, false): dynamicUnsigned4
    case (.dynamicNoZero, 8, false): dynamicNoZeroUnsigned8
    case (.dynamicNoZero, 4, false): dynamicNoZeroUnsigned4
    case (.linear, 8, true): linearSigned8
    case (.linear, 8, false): linearUnsigned8
    case (.linear, 4, true): linearSigned4
    case (.linear, 4, false): linearUnsigned4
    case (.linearNoZero, 8, true): linearNoZeroSigned8
    case (.linearNoZero, 8, false): linearNoZeroUnsigned8
    case (.linearNoZero, 4, true): linearNoZeroSigned4
    case (.linearNoZero, 4, false): linearNoZeroUnsigned4
    case (.normal, 4, true): normalSigned4
    case (.cubic, 8, true): cubicSigned8
    case (.cubic, 4, true): cubicSigned4
    default:
      throw QCodecError(
        .unsupportedScheme, "there is no \(signed ? "signed" : "unsigned") \(bits)-bit \(map.name) map")
    }
  }

  /// The digest that the spec gives for a named map, or nil where there is no such map.
  public static func namedDigest(_ map: Scheme.Map, bits: Int, signed: Bool) -> UInt64? {
    guard let table = try? named(map, bits: bits, signed: signed) else { return nil }
    return table.digest
  }

  // Built once, on first use.
  private static let dynamicSigned8 = make(NamedMaps.dynamicSigned8, signed: true, .signedExtreme)
  private static let dynamicUnsigned8 = make(NamedMaps.dynamicUnsigned8, signed: false)
  private static let dynamicSigned4 = make(NamedMaps.dynamicSigned4, signed: true, .signedExtreme)
  private static let dynamicUnsigned4 = make(NamedMaps.dynamicUnsigned4, signed: false)
  private static let dynamicNoZeroUnsigned8 = make(NamedMaps.dynamicNoZeroUnsigned8, signed: false)
  private static let dynamicNoZeroUnsigned4 = make(NamedMaps.dynamicNoZeroUnsigned4, signed: false)
  private static let linearSigned8 = make(NamedMaps.linearSigned8, signed: true)
  private static let linearUnsigned8 = make(NamedMaps.linearUnsigned8, signed: false)
  private static let linearSigned4 = make(NamedMaps.linearSigned4, signed: true)
  private static let linearUnsigned4 = make(NamedMaps.linearUnsigned4, signed: false)
  private static let linearNoZeroSigned8 = make(NamedMaps.linearNoZeroSigned8, signed: true)
  private static let linearNoZeroUnsigned8 = make(NamedMaps.linearNoZeroUnsigned8, signed: false)
  private static let linearNoZeroSigned4 = make(NamedMaps.linearNoZeroSigned4, signed: true)
  private static let linearNoZeroUnsigned4 = make(NamedMaps.linearNoZeroUnsigned4, signed: false)
  private static let normalSigned4 = make(NamedMaps.normalSigned4, signed: true)
  private static let cubicSigned8 = make(NamedMaps.cubicSigned8, signed: true, .signedExtreme)
  private static let cubicSigned4 = make(NamedMaps.cubicSigned4, signed: true, .signedExtreme)

  private static func make(
    _ patterns: [UInt32], signed: Bool, _ scaleRule: Scheme.ScaleRule = .absmax
  ) -> MapTable {
    MapTable(checked: patterns.map(Float.init(bitPattern:)), signed: signed, scaleRule: scaleRule, isNamed: true)
  }
}
