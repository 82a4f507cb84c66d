import QCodec

/// The scheme of a tensor record: bytes 48 to 60 and the seed.
struct SchemeFields {
  let fields: ByteFields
  let at: Int
  let base: UInt64

  private func refuse(_ message: String, _ offset: Int) -> QCodecError {
    QCodecError(.invalidScheme, message, offset: base + UInt64(at + offset))
  }

  /// The scheme, or nil for a lossless tensor; throws `invalidScheme`, `invalidMapTable`, `unsupportedFeature`.
  func read(tables: inout TableSection) throws(QCodecError) -> Scheme? {
    switch fields.bytes[at + 14] {
    case 0:
      guard fields.read(at + 48, as: UInt64.self) == 0, fields.read(at + 56, as: UInt32.self) == Format.noTable else {
        throw refuse("a lossless tensor has no scheme", 48)
      }
      return nil
    case 1: return try quantized(tables: &tables)
    default: throw refuse("unknown encoding \(fields.bytes[at + 14])", 14)
    }
  }

  private func quantized(tables: inout TableSection) throws(QCodecError) -> Scheme {
    let bytes = fields.bytes
    guard let map = Scheme.Map(rawValue: bytes[at + 48]) else { throw refuse("unknown map \(bytes[at + 48])", 48) }
    guard let domain = Scheme.Domain(rawValue: bytes[at + 53]) else {
      throw refuse("unknown domain \(bytes[at + 53])", 53)
    }
    guard map != .log, domain != .update else {
      throw QCodecError(
        .unsupportedFeature, "the log map and the update domain are reserved", offset: base + UInt64(at + 48))
    }
    guard bytes[at + 49] == 4 || bytes[at + 49] == 8 else {
      throw QCodecError(.unsupportedFeature, "codes of \(bytes[at + 49]) bits", offset: base + UInt64(at + 49))
    }
    guard bytes[at + 50] <= 1 else { throw refuse("signedness \(bytes[at + 50])", 50) }
    guard let scaling = Scheme.Scaling(code: bytes[at + 51], block: bytes[at + 52]) else {
      throw refuse("unknown scaling \(bytes[at + 51]) with block 2^\(bytes[at + 52])", 51)
    }
    guard let rounding = Scheme.Rounding(rawValue: bytes[at + 54]) else {
      throw refuse("unknown rounding \(bytes[at + 54])", 54)
    }
    guard let rule = Scheme.ScaleRule(rawValue: bytes[at + 55]) else {
      throw refuse("unknown scale rule \(bytes[at + 55])", 55)
    }
    let (bits, signed) = (Int(bytes[at + 49]), bytes[at + 50] == 1)
    let table = try tables.table(
      at: fields.read(at + 56), map: map, bits: bits, signed: signed, scaleRule: rule, place: base + UInt64(at + 56))
    let scheme = Scheme(
      map: map, bits: bits, signed: signed, scaling: scaling, domain: domain, rounding: rounding,
      seed: fields.read(at + 72), scaleRule: rule, customTable: map == .custom ? table : nil)
    try check(scheme, table: table)
    return scheme
  }

  /// The scheme must be one that a writer resolves to itself.
  private func check(_ scheme: Scheme, table: MapTable) throws(QCodecError) {
    if table.isImport, scheme.rounding != .unknown { throw refuse("an imported table with a known rounding", 54) }
    guard let dtype = DType(rawValue: fields.bytes[at + 12]), dtype.isQuantizable else {
      throw refuse("a quantized tensor of dtype \(fields.bytes[at + 12])", 12)
    }
    if fields.bytes[at + 60] != 0 { throw refuse("a quantized tensor has no reason to be lossless", 60) }
  }
}
