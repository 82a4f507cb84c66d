import QCodec

/// A tensor's dtype, shape and scheme out of an input's first bytes.
struct TensorInput {
  static let dtypes: [DType] = [.f32, .bf16, .f16]
  private static let maps = Scheme.Map.allCases
  private static let roundings: [Scheme.Rounding] = [.nearest, .nearestKeepNonzero, .stochastic, .unknown]

  let dtype: DType
  let shape: [UInt64]
  let elements: Int
  let scheme: Scheme

  /// nil for what has too many elements or a table that cannot be; schemes that contradict themselves are let through.
  init?(_ cursor: inout InputCursor, maximum: Int, domain: Scheme.Domain = .value) {
    dtype = Self.dtypes[Int(cursor.byte() % 3)]
    var shape: [UInt64] = []
    var count = 1
    for _ in 0..<Int(cursor.byte() % 5) {
      let length = Int(cursor.number(UInt16.self))
      let (product, overflow) = count.multipliedReportingOverflow(by: length)
      guard !overflow, product <= maximum else { return nil }
      count = product
      shape.append(UInt64(length))
    }
    self.shape = shape
    elements = count
    guard let scheme = Self.scheme(&cursor, domain: domain) else { return nil }
    self.scheme = scheme
  }

  static func scheme(_ cursor: inout InputCursor, domain: Scheme.Domain) -> Scheme? {
    let (kind, flags, layout) = (cursor.byte(), cursor.byte(), cursor.byte())
    let map = maps[Int(kind) % maps.count]
    // The last bit of the flags chooses the widths that kernels do not have as they are stored.
    let bits = (flags & 0x80 == 0 ? [8, 4, 8, 4] : [6, 5, 3, 2])[Int(flags & 1 | layout >> 6 & 2)]
    let signed = flags & 2 != 0
    let rounding = roundings[Int(flags >> 2 & 3)]
    let rules: [Scheme.ScaleRule?] = [nil, nil, .absmax, rounding == .unknown ? .unknown : .signedExtreme]
    let rule = rules[Int(flags >> 4 & 3)]
    let scaling: Scheme.Scaling =
      switch layout % 8 {
      case 0: .tensor
      case 1: .row
      case 2: .column
      case 3: .rank1
      default: .block(32 << Int(layout >> 3 & 15))
      }
    var table: MapTable?
    if map == .custom {
      let entries = (0..<1 << bits).map { _ in Float(bitPattern: cursor.number(UInt32.self)) }
      let isImport = flags & 0x40 != 0
      guard
        let made = outcome({ () throws(QCodecError) in
          try MapTable(
            custom: isImport ? entries : increasing(entries, signed: signed), signed: signed, isImport: isImport,
            scaleRule: rule ?? (isImport ? .unknown : .absmax))
        }).value
      else { return nil }
      table = made
    }
    return Scheme(
      map: map, bits: bits, signed: signed, scaling: scaling, domain: domain, rounding: rounding,
      seed: rounding == .stochastic ? UInt64(kind) : 0, scaleRule: rule, customTable: table)
  }

  /// Entries made into what an encoder's table is: sorted, in range, ending in +1.
  private static func increasing(_ entries: [Float], signed: Bool) -> [Float] {
    let fractions = entries.map { entry in
      let fraction = Float(entry.bitPattern & 0xFF_FFFF) * 0x1p-24
      return signed ? fraction * 2 - 1 : fraction
    }
    return fractions.dropLast().sorted() + [1]
  }
}
