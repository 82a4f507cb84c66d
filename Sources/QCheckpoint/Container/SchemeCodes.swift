import QCodec

/// The eight bytes of a scheme, as tensor records and preambles hold them; what they refer to is not yet known.
struct SchemeCodes {
  let map: Scheme.Map
  let bits: Int
  let signed: Bool
  let hasEscapes: Bool
  let scaling: Scheme.Scaling
  let domain: Scheme.Domain
  let rounding: Scheme.Rounding
  let scaleRule: Scheme.ScaleRule

  /// Reads the bytes from `at` on, which stand at `place` of the file.
  ///
  /// - Parameter allowsEscapes: whether the file may have any, by its features.
  ///
  /// Throws `invalidScheme` for values that no version has, `unsupportedFeature` for those that are reserved.
  init(_ fields: ByteFields, at: Int, place: UInt64, allowsEscapes: Bool) throws(QCodecError) {
    func refuse(_ message: String, _ offset: Int) -> QCodecError {
      QCodecError(.invalidScheme, message, offset: place + UInt64(offset))
    }
    let bytes = Array(fields.bytes[at..<at + 8])
    guard let map = Scheme.Map(rawValue: bytes[0]) else { throw refuse("unknown map \(bytes[0])", 0) }
    guard let domain = Scheme.Domain(rawValue: bytes[5]) else { throw refuse("unknown domain \(bytes[5])", 5) }
    guard Scheme.widths.contains(Int(bytes[1])) else {
      throw QCodecError(.unsupportedFeature, "codes of \(bytes[1]) bits", offset: place + 1)
    }
    guard bytes[2] <= (allowsEscapes ? 3 : 1) else { throw refuse("signedness and flags \(bytes[2])", 2) }
    guard let scaling = Scheme.Scaling(code: bytes[3], block: bytes[4]) else {
      let isKnown = (1...5).contains(bytes[3])
      throw refuse("unknown scaling \(bytes[3]) with block 2^\(bytes[4])", isKnown ? 4 : 3)
    }
    guard let rounding = Scheme.Rounding(rawValue: bytes[6]) else { throw refuse("unknown rounding \(bytes[6])", 6) }
    guard let rule = Scheme.ScaleRule(rawValue: bytes[7]) else { throw refuse("unknown scale rule \(bytes[7])", 7) }
    self.map = map
    bits = Int(bytes[1])
    signed = bytes[2] & 1 == 1
    hasEscapes = bytes[2] & 2 == 2
    self.scaling = scaling
    self.domain = domain
    self.rounding = rounding
    scaleRule = rule
  }

  /// The scheme with what stands elsewhere; `table` counts for custom maps.
  func scheme(seed: UInt64, table: MapTable?) -> Scheme {
    var scheme = Scheme(
      map: map, bits: bits, signed: signed, scaling: scaling, domain: domain, rounding: rounding, seed: seed,
      scaleRule: scaleRule, customTable: map == .custom ? table : nil)
    scheme.hasEscapes = hasEscapes
    return scheme
  }
}
