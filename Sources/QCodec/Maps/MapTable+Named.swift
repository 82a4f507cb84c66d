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
    case (.linear, 6, true): linearSigned6
    case (.linear, 6, false): linearUnsigned6
    case (.linear, 5, true): linearSigned5
    case (.linear, 5, false): linearUnsigned5
    case (.linear, 3, true): linearSigned3
    case (.linear, 3, false): linearUnsigned3
    case (.linear, 2, true): linearSigned2
    case (.linear, 2, false): linearUnsigned2
    case (.linearNoZero, 6, true): linearNoZeroSigned6
    case (.linearNoZero, 6, false): linearNoZeroUnsigned6
    case (.linearNoZero, 5, true): linearNoZeroSigned5
    case (.linearNoZero, 5, false): linearNoZeroUnsigned5
    case (.linearNoZero, 3, true): linearNoZeroSigned3
    case (.linearNoZero, 3, false): linearNoZeroUnsigned3
    case (.linearNoZero, 2, true): linearNoZeroSigned2
    case (.linearNoZero, 2, false): linearNoZeroUnsigned2
    case (.cubic, 6, true): cubicSigned6
    case (.cubic, 5, true): cubicSigned5
    case (.cubic, 3, true): cubicSigned3
    case (.cubic, 2, true): cubicSigned2
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
  private static let linearSigned6 = make(NamedMaps.linearSigned6, signed: true)
  private static let linearUnsigned6 = make(NamedMaps.linearUnsigned6, signed: false)
  private static let linearSigned5 = make(NamedMaps.linearSigned5, signed: true)
  private static let linearUnsigned5 = make(NamedMaps.linearUnsigned5, signed: false)
  private static let linearSigned3 = make(NamedMaps.linearSigned3, signed: true)
  private static let linearUnsigned3 = make(NamedMaps.linearUnsigned3, signed: false)
  private static let linearSigned2 = make(NamedMaps.linearSigned2, signed: true)
  private static let linearUnsigned2 = make(NamedMaps.linearUnsigned2, signed: false)
  private static let linearNoZeroSigned6 = make(NamedMaps.linearNoZeroSigned6, signed: true)
  private static let linearNoZeroUnsigned6 = make(NamedMaps.linearNoZeroUnsigned6, signed: false)
  private static let linearNoZeroSigned5 = make(NamedMaps.linearNoZeroSigned5, signed: true)
  private static let linearNoZeroUnsigned5 = make(NamedMaps.linearNoZeroUnsigned5, signed: false)
  private static let linearNoZeroSigned3 = make(NamedMaps.linearNoZeroSigned3, signed: true)
  private static let linearNoZeroUnsigned3 = make(NamedMaps.linearNoZeroUnsigned3, signed: false)
  private static let linearNoZeroSigned2 = make(NamedMaps.linearNoZeroSigned2, signed: true)
  private static let linearNoZeroUnsigned2 = make(NamedMaps.linearNoZeroUnsigned2, signed: false)
  private static let cubicSigned6 = make(NamedMaps.cubicSigned6, signed: true, .signedExtreme)
  private static let cubicSigned5 = make(NamedMaps.cubicSigned5, signed: true, .signedExtreme)
  private static let cubicSigned3 = make(NamedMaps.cubicSigned3, signed: true, .signedExtreme)
  private static let cubicSigned2 = make(NamedMaps.cubicSigned2, signed: true, .signedExtreme)

  private static func make(
    _ patterns: [UInt32], signed: Bool, _ scaleRule: Scheme.ScaleRule = .absmax
  ) -> MapTable {
    MapTable(checked: patterns.map(Float.init(bitPattern:)), signed: signed, scaleRule: scaleRule, isNamed: true)
  }
}
