import QCodec

/// The eight bytes of a scheme, as tensor records and preambles hold them; what they refer to is not yet known.
struct SchemeCodes {
  let map: Scheme.Map
  let bits: Int
  let signed: Bool
  let scaling: Scheme.Scaling
  let domain: Scheme.Domain
  let rounding: Scheme.Rounding
  let scaleRule: Scheme.ScaleRule

  /// Reads the bytes from `at` on, which stand at `place` of the file.
  ///
  /// Throws `invalidScheme` for values that no version has, `unsupportedFeature` for those that are reserved.
  init(_ fields: ByteFields, at: Int, place: UInt64) throws(QCodecError) {
    func refuse(_ message: String, _ offset: Int) -> QCodecError {
      QCodecError(.invalidScheme, message, offset: place + UInt64(offset))
    }
    let bytes = Array(fields.bytes[at..<at + 8])
    guard let map = Scheme.Map(rawValue: bytes[0]) else { throw refuse("unknown map \(bytes[0])", 0) }
    guard let domain = Scheme.Domain(rawValue: bytes[5]) else { throw refuse("unknown domain \(bytes[5])", 5) }
    guard bytes[1] == 4 || bytes[1] == 8 else {
      throw QCodecError(.unsupportedFeature, "codes of \(bytes[1]) bits", offset: place + 1)
    }
    guard bytes[2] <= 1 else { throw refuse("signedness \(bytes[2])", 2) }
    guard let scaling = Scheme.Scaling(code: bytes[3], block: bytes[4]) else {
      let isKnown = (1...5).contains(bytes[3])
      throw refuse("unknown scaling \(bytes[3]) with block 2^\(bytes[4])", isKnown ? 4 : 3)
    }
    guard let rounding = Scheme.Rounding(rawValue: bytes[6]) else { throw refuse("unknown rounding \(bytes[6])", 6) }
    guard let rule = Scheme.ScaleRule(rawValue: bytes[7]) else { throw refuse("unknown scale rule \(bytes[7])", 7) }
    self.map = map
    bits = Int(bytes[1])
    signed = bytes[2] == 1
    self.scaling = scaling
    self.domain = domain
    self.rounding = rounding
    scaleRule = rule
  }

  /// The scheme with what stands elsewhere; `table` counts for custom maps.
  func scheme(seed: UInt64, table: MapTable?) -> Scheme {
    Scheme(
      map: map, bits: bits, signed: signed, scaling: scaling, domain: domain, rounding: rounding, seed: seed,
      scaleRule: scaleRule, customTable: map == .custom ? table : nil)
  }
}

/// The scheme of a tensor record: bytes 40 to 52 and the seed.
struct SchemeFields {
  let tensor: TensorFields
  let base: UInt64

  private func refuse(_ message: String, _ offset: Int) -> QCodecError {
    QCodecError(.invalidScheme, message, offset: base + UInt64(tensor.at + offset))
  }

  /// Checks what a lossless tensor leaves empty; throws `invalidScheme`.
  func checkLossless() throws(QCodecError) {
    guard tensor.fields.read(tensor.at + 40, as: UInt64.self) == 0 else {
      throw refuse("a lossless tensor has no scheme", 40)
    }
    guard tensor.tableOffset == Format.noTable else { throw refuse("a lossless tensor has no map table", 48) }
    if tensor.reason?.isOfUpdateDomain == true {
      throw refuse("a lossless tensor has a reason of the update domain", 52)
    }
  }

  /// The error of an encoding that no version has.
  var unknownEncoding: QCodecError { refuse("unknown encoding \(tensor.encoding)", 14) }

  /// The scheme of a quantized tensor; throws `invalidScheme`, `invalidMapTable`, `unsupportedFeature`.
  func read(tables: inout TableSection) throws(QCodecError) -> Scheme {
    let codes = try SchemeCodes(tensor.fields, at: tensor.at + 40, place: base + UInt64(tensor.at + 40))
    let table = try table(codes, &tables)
    // The scheme must be one that a writer resolves to itself.
    if table?.isImport == true, codes.rounding != .unknown {
      throw refuse("an imported table with a known rounding", 46)
    }
    return codes.scheme(seed: tensor.fields.read(tensor.at + 64), table: table)
  }

  /// Checks what else goes with a scheme; throws `invalidScheme`.
  func check(isUpdate: Bool) throws(QCodecError) {
    guard let dtype = tensor.dtype, dtype.isQuantizable else {
      throw refuse("a quantized tensor of dtype \(tensor.fields.bytes[tensor.at + 12])", 12)
    }
    let reason = tensor.reason
    guard reason == FallbackReason.none || (reason?.isOfUpdateDomain == true && !isUpdate) else {
      throw refuse("a quantized tensor has no reason to be lossless", 52)
    }
  }

  /// The table that the codes index; the `log` map has none.
  private func table(_ codes: SchemeCodes, _ tables: inout TableSection) throws(QCodecError) -> MapTable? {
    guard codes.map == .log else {
      return try tables.table(at: tensor.tableOffset, codes: codes, place: base + UInt64(tensor.at + 48))
    }
    guard tensor.tableOffset == Format.noTable else { throw refuse("the log map has no table", 48) }
    return nil
  }
}
