import QCodec

/// The schemes of a directory's tensors, each read and checked once.
struct SchemeList {
  private let fields: ByteFields
  private let base: UInt64
  private let allowsEscapes: Bool
  private var tables: TableSection
  private(set) var all: [StoredScheme] = []
  private var numbers: [Key: UInt32] = [:]
  /// Those that were found last, by the places of their keys: a file has few, but in turn.
  private var recent: InlineArray<16, (key: Key, number: UInt32)>

  /// What tells one scheme of another: the eight bytes of its codes, and where its table stands.
  private struct Key: Hashable {
    let codes: UInt64
    let table: UInt32

    /// Where `recent` has it: map and domain, scaling and table are what schemes of one file differ in.
    var place: Int { Int(truncatingIfNeeded: codes ^ codes >> 24 ^ codes >> 38 ^ UInt64(table) >> 4) & 15 }
  }

  /// The schemes of tensors whose records stand in a directory at `base`, and their map tables.
  init(fields: ByteFields, tables: Range<Int>, base: UInt64, allowsEscapes: Bool) {
    self.allowsEscapes = allowsEscapes
    self.fields = fields
    self.base = base
    self.tables = TableSection(fields: fields, range: tables, base: base)
    recent = InlineArray(repeating: (Key(codes: 0, table: 0), Directory.lossless))
  }

  private func refuse(_ message: String, _ offset: Int) -> QCodecError {
    QCodecError(.invalidScheme, message, offset: base + UInt64(offset))
  }

  /// The place in `all` of a tensor's scheme, `Directory.lossless` for a lossless one.
  ///
  /// Throws `invalidScheme`, `invalidMapTable`, `reservedBits`, `unsupportedFeature`.
  @inline(__always)
  mutating func number(
    of stored: StoredTensor, at: Int, dtype: DType, reason: FallbackReason
  ) throws(QCodecError) -> UInt32 {
    guard stored.encoding == 1 else {
      try checkLossless(stored, at: at, reason: reason)
      return Directory.lossless
    }
    let key = Key(codes: stored.schemeCodes, table: stored.tableOffset)
    let place = key.place
    var number = recent[place].key == key ? recent[place].number : Directory.lossless
    if number == Directory.lossless {
      number = try self.number(of: key, at: at)
      recent[place] = (key, number)
    }
    guard dtype.isQuantizable else { throw refuse("a quantized tensor of dtype \(stored.dtypeCode)", at + 12) }
    guard reason == .none || (reason.isOfUpdateDomain && !all[Int(number)].isUpdate) else {
      throw refuse("a quantized tensor has no reason to be lossless", at + 52)
    }
    return number
  }

  private func checkLossless(_ stored: StoredTensor, at: Int, reason: FallbackReason) throws(QCodecError) {
    guard stored.encoding == 0 else { throw refuse("unknown encoding \(stored.encoding)", at + 14) }
    guard stored.schemeCodes == 0 else { throw refuse("a lossless tensor has no scheme", at + 40) }
    guard stored.tableOffset == Format.noTable else { throw refuse("a lossless tensor has no map table", at + 48) }
    if reason.isOfUpdateDomain { throw refuse("a lossless tensor has a reason of the update domain", at + 52) }
  }

  private mutating func number(of key: Key, at: Int) throws(QCodecError) -> UInt32 {
    if let number = numbers[key] { return number }
    let codes = try SchemeCodes(
      fields, at: at + 40, place: base + UInt64(at + 40), allowsEscapes: allowsEscapes)
    let table = try table(of: codes, key: key, at: at)
    // The scheme must be one that a writer resolves to itself.
    if table?.isImport == true, codes.rounding != .unknown {
      throw refuse("an imported table with a known rounding", at + 46)
    }
    let number = UInt32(all.count)
    all.append(StoredScheme(codes.scheme(seed: 0, table: table)))
    numbers[key] = number
    return number
  }

  /// The table that the codes index; the `log` map has none.
  private mutating func table(of codes: SchemeCodes, key: Key, at: Int) throws(QCodecError) -> MapTable? {
    guard codes.map == .log else {
      return try tables.table(at: key.table, codes: codes, place: base + UInt64(at + 48))
    }
    guard key.table == Format.noTable else { throw refuse("the log map has no table", at + 48) }
    return nil
  }

  /// Refuses tables that no tensor refers to.
  func finish() throws(QCodecError) { try tables.finish() }
}
