/// A quantization map: the float32 table of 2^bits entries that codes index.
///
/// Tables to encode with are sorted and may be padded at their end with their last entry; imported ones have any order
/// and range and are decoded only. Named tables are constants (Spec/Maps.md); nothing recomputes them at run time.
public struct MapTable: Sendable, Hashable {
  /// The entries, 2^bits of them, padding included.
  public let entries: [Float]
  /// Bits a code: one of `Scheme.widths`.
  public let bits: Int
  /// Whether entries lie in [−1, 1] rather than [0, 1].
  public let signed: Bool
  /// Whether the table came from another system and is only decoded.
  public let isImport: Bool
  /// The rule by which encoders choose scales for this table.
  public let scaleRule: Scheme.ScaleRule
  /// XXH3-64 of the entries as little-endian float32.
  public let digest: UInt64
  /// Threshold i lies between distinct entries i and i + 1: float32((float64(t[i]) + float64(t[i+1])) / 2).
  public let thresholds: [Float]
  /// The search structure of named tables, made once.
  private let namedSearch: CodeSearch?
  /// Likewise for kernels.
  private let namedKernelTable: KernelTable?

  /// The same table with what encoders make of it at hand, for one that many tensors are encoded with.
  package var ready: MapTable {
    MapTable(checked: entries, signed: signed, isImport: isImport, scaleRule: scaleRule, isNamed: !isImport)
  }

  /// The table as kernels want it; custom tables make it on each call, for the reason below.
  package var kernelTable: KernelTable {
    namedKernelTable
      ?? withCodecEnvironment { KernelTable(entries: entries, thresholds: thresholds, signed: signed) }
  }

  /// The search structure of encoders; nil for imports. Custom tables make it on each call: it takes 64 KiB, and a file
  /// may hold more tables than anyone will encode with.
  package var search: CodeSearch? {
    if let namedSearch { return namedSearch }
    return isImport ? nil : withCodecEnvironment { CodeSearch(thresholds: thresholds) }
  }

  /// Entries that differ: padding counts once, imports count in full.
  public var distinctCount: Int { isImport ? entries.count : thresholds.count + 1 }

  /// Creates a custom table of 2^bits entries: 4, 8, 16, 32, 64 or 256.
  ///
  /// Entries are finite, in [−1, 1] (signed) or [0, 1], end in +1 and increase strictly but for padding at the end,
  /// with each threshold strictly between its two entries; an import is checked for its size and infinities only.
  /// Throws `invalidMapTable` with the index of the first entry that breaks a rule.
  public init(
    custom entries: [Float], signed: Bool, isImport: Bool = false, scaleRule: Scheme.ScaleRule
  ) throws(QCodecError) {
    // ∞ · 0 is a NaN whose bits differ between processors.
    if let index = entries.firstIndex(where: \.isInfinite) {
      throw QCodecError(.invalidMapTable, "entry \(index) of a map is infinite")
    }
    _ = try Self.width(ofEntries: entries.count)
    if !isImport {
      try withCodecEnvironment { () throws(QCodecError) in try Self.check(entries, signed: signed) }
    }
    self.init(checked: entries, signed: signed, isImport: isImport, scaleRule: scaleRule)
  }

  /// The bits of the codes that index so many entries; throws `invalidMapTable` where no width has as many.
  public static func width(ofEntries count: Int) throws(QCodecError) -> Int {
    guard let bits = Scheme.widths.first(where: { 1 << $0 == count }) else {
      throw QCodecError(.invalidMapTable, "a map has 4, 8, 16, 32, 64 or 256 entries, not \(count)")
    }
    return bits
  }

  init(
    checked entries: [Float], signed: Bool, isImport: Bool = false, scaleRule: Scheme.ScaleRule, isNamed: Bool = false
  ) {
    self.entries = entries
    bits = entries.count.trailingZeroBitCount
    self.signed = signed
    self.isImport = isImport
    self.scaleRule = scaleRule
    digest = unsafe entries.withUnsafeBytes { unsafe xxh3($0) }
    let thresholds = isImport ? [] : withCodecEnvironment { Self.thresholds(of: entries) }
    self.thresholds = thresholds
    namedSearch = isNamed ? withCodecEnvironment { CodeSearch(thresholds: thresholds) } : nil
    namedKernelTable =
      isNamed ? withCodecEnvironment { KernelTable(entries: entries, thresholds: thresholds, signed: signed) } : nil
  }

  private static func thresholds(of entries: [Float]) -> [Float] {
    zip(entries, entries.dropFirst()).prefix { $0 != $1 }.map { Float((Double($0) + Double($1)) / 2) }
  }

  private static func check(_ entries: [Float], signed: Bool) throws(QCodecError) {
    func refuse(_ index: Int, _ rule: String) -> QCodecError {
      QCodecError(.invalidMapTable, "entry \(index) of a map, \(entries[index]), \(rule)")
    }
    let range: ClosedRange<Float> = signed ? -1...1 : 0...1
    for (index, entry) in entries.enumerated() where !range.contains(entry) {
      throw refuse(index, "lies outside [\(range.lowerBound), \(range.upperBound)]")
    }
    guard entries[entries.count - 1] == 1 else { throw refuse(entries.count - 1, "is the last and not +1") }
    let thresholds = Self.thresholds(of: entries)
    for (index, threshold) in thresholds.enumerated()
    where !(entries[index] < threshold && threshold < entries[index + 1]) {
      throw refuse(index + 1, "is not above the one before by enough for a threshold between them")
    }
    for index in (thresholds.count + 1)..<max(entries.count, thresholds.count + 1)
    where entries[index] != entries[thresholds.count] {
      throw refuse(index, "follows padding and differs from it")
    }
  }

  /// Whether two tables hold the same bit patterns under the same rules.
  public static func == (left: MapTable, right: MapTable) -> Bool {
    // Bit patterns, for imports may hold NaN.
    left.digest == right.digest && left.signed == right.signed && left.isImport == right.isImport
      && left.scaleRule == right.scaleRule
      && left.entries.elementsEqual(right.entries) { $0.bitPattern == $1.bitPattern }
  }

  /// Feeds the digest and what it does not cover.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(digest)
    hasher.combine(signed)
    hasher.combine(isImport)
  }
}
