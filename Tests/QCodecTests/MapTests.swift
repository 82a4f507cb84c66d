import QCodec
import Testing

@Suite("Quantization maps")
struct MapTests {
  /// Map, bits, signedness, distinct entries and digest, as Spec/Maps.md lists them.
  static let named: [(Scheme.Map, Int, Bool, Int, UInt64)] = [
    (.dynamic, 8, true, 256, 0x8C54_CBCB_0590_4087),
    (.dynamic, 8, false, 256, 0x7D7D_467D_7FBD_8415),
    (.dynamic, 4, true, 16, 0xA777_ACB0_E6F3_B743),
    (.dynamic, 4, false, 16, 0x73D1_E6AC_BB6C_A789),
    (.dynamicNoZero, 8, false, 255, 0x1D68_57B1_57E2_F061),
    (.dynamicNoZero, 4, false, 15, 0xB376_B912_8AEF_EE33),
    (.linear, 8, true, 255, 0x8CE3_1CBD_7155_87EC),
    (.linear, 8, false, 256, 0xD107_9E90_1F2F_65BC),
    (.linear, 4, true, 15, 0x2891_B0CA_28C6_D889),
    (.linear, 4, false, 16, 0x0FFF_6E29_B9DF_768E),
    (.linearNoZero, 8, true, 256, 0x6E83_3F9E_C2D7_3081),
    (.linearNoZero, 8, false, 256, 0x2F28_C01C_8C44_E46E),
    (.linearNoZero, 4, true, 16, 0x8899_76A2_5E15_AB6F),
    (.linearNoZero, 4, false, 16, 0x6434_FC20_1016_742D),
    (.normal, 4, true, 16, 0xE8F1_D04F_A459_3C9C),
    (.cubic, 8, true, 256, 0x254E_9DE2_17F9_4355),
    (.cubic, 4, true, 16, 0xA219_FB26_AC6C_6060),
    (.linear, 6, true, 63, 0xC7F1_9D37_C506_7D91),
    (.linear, 6, false, 64, 0x4364_5E0B_FC94_A624),
    (.linear, 5, true, 31, 0xB6C2_24FA_3BE5_45CC),
    (.linear, 5, false, 32, 0x5FD9_DC84_2A46_AF4D),
    (.linear, 3, true, 7, 0xB554_1BBE_D1B8_8568),
    (.linear, 3, false, 8, 0x64D2_A89C_3239_2C32),
    (.linear, 2, true, 3, 0x1EE7_2280_53CC_BFCB),
    (.linear, 2, false, 4, 0xF393_23F0_9FB9_7D3D),
    (.linearNoZero, 6, true, 64, 0x93CE_4110_78DA_6FBF),
    (.linearNoZero, 6, false, 64, 0x38E9_EC3D_AA84_3021),
    (.linearNoZero, 5, true, 32, 0xD474_5EEF_D648_5066),
    (.linearNoZero, 5, false, 32, 0xAFB0_6586_71D1_833F),
    (.linearNoZero, 3, true, 8, 0x9226_C70E_47FE_9B2F),
    (.linearNoZero, 3, false, 8, 0x89AF_2F64_E7C0_5CE0),
    (.linearNoZero, 2, true, 4, 0x4D74_4284_767D_6E07),
    (.linearNoZero, 2, false, 4, 0x4DE9_16EF_B99E_C738),
    (.cubic, 6, true, 64, 0x6C5B_EF75_8D15_0F70),
    (.cubic, 5, true, 32, 0xE11C_D669_A140_3646),
    (.cubic, 3, true, 8, 0x5872_3B08_D671_C5E7),
    (.cubic, 2, true, 4, 0xC1D2_9D7B_D75D_0559),
  ]

  @Test("Tables have the digests of the spec", arguments: named)
  func digests(map: Scheme.Map, bits: Int, signed: Bool, distinct: Int, digest: UInt64) throws {
    let table = try MapTable.named(map, bits: bits, signed: signed)
    #expect(table.digest == digest)
    #expect(table.entries.count == 1 << bits)
    #expect(table.distinctCount == distinct)
    #expect(table.entries.last == 1)
    for (index, threshold) in table.thresholds.enumerated() {
      let (low, high) = (table.entries[index], table.entries[index + 1])
      #expect(low < threshold && threshold < high)
      #expect(threshold == Float((Double(low) + Double(high)) / 2))
    }
  }

  @Test("Formula entries are the nearest float32", arguments: Scheme.widths)
  func formulas(bits: Int) throws {
    let linear = try MapTable.named(.linear, bits: bits, signed: true).entries
    let nozero = try MapTable.named(.linearNoZero, bits: bits, signed: true).entries
    let unsigned = try MapTable.named(.linear, bits: bits, signed: false).entries
    let moments = try MapTable.named(.linearNoZero, bits: bits, signed: false).entries
    let (n, last) = (1 << (bits - 1) - 1, 1 << bits - 1)
    // A float64 quotient of small integers rounds to the same float32 as the exact one.
    for i in 0...2 * n { #expect(linear[i] == Float(Double(i - n) / Double(n))) }
    #expect(linear[last] == 1)
    for i in 0...last {
      #expect(nozero[i] == Float(Double(2 * i - last) / Double(last)))
      #expect(unsigned[i] == Float(Double(i) / Double(last)))
      #expect(moments[i] == Float(i + 1) / Float(last + 1))
    }
  }

  @Test("cubic: exact above zero, the formula's float32 below", arguments: Scheme.widths)
  func cubic(bits: Int) throws {
    let entries = try MapTable.named(.cubic, bits: bits, signed: true).entries
    let n = 1 << (bits - 1)
    try #require(entries.count == 2 * n)
    /// (5s + 3s³)/8 for s = p/q, of integers below 2^53.
    func bent(_ p: Int, _ q: Int) -> Float {
      let numerator: Int = p * (5 * q * q + 3 * p * p)
      let denominator: Int = 8 * q * q * q
      return Float(Double(numerator) / Double(denominator))
    }
    for i in 0...n { #expect(entries[n - 1 + i] == bent(i, n)) }
    for i in 1..<n { #expect(entries[n - 1 - i] == -bent(4 * i, 4 * n - 1)) }
  }

  @Test("A map's scale rule follows from its table: the signed extreme for +1 without −1")
  func scaleRules() throws {
    for (map, bits, signed, _, _) in Self.named {
      let table = try MapTable.named(map, bits: bits, signed: signed)
      let expected: Scheme.ScaleRule = signed && table.entries[0] != -1 ? .signedExtreme : .absmax
      #expect(map.scaleRule(signed: signed) == expected)
      #expect(table.scaleRule == expected)
      #expect(Scheme(map: map, bits: bits, signed: signed, scaling: .block(64)).scaleRule == expected)
      if expected == .absmax {
        let other = Scheme(map: map, bits: bits, signed: signed, scaling: .block(64), scaleRule: .signedExtreme)
        let error = failure { () throws(QCodecError) in _ = try TensorCodec(dtype: .f32, shape: [64], scheme: other) }
        #expect(error?.code == .unsupportedScheme)
      }
    }
  }

  @Test("Maps that do not exist are refused")
  func absent() {
    for (map, bits, signed) in [
      (Scheme.Map.normal, 8, true), (.normal, 4, false), (.cubic, 8, false), (.cubic, 4, false),
      (.dynamicNoZero, 8, true), (.log, 8, false),
      (.dynamic, 5, true), (.dynamic, 6, false), (.dynamicNoZero, 3, false), (.normal, 3, true), (.linear, 7, true),
      (.cubic, 1, true), (.log, 7, false), (.custom, 8, true),
    ] {
      #expect(
        failure { () throws(QCodecError) in _ = try MapTable.named(map, bits: bits, signed: signed) }?.code
          == .unsupportedScheme)
    }
  }

  @Test("Custom tables: each rule has its refusal")
  func customRules() throws {
    func code(_ entries: [Float], signed: Bool = true) -> QCodecError.Code? {
      failure { () throws(QCodecError) in _ = try MapTable(custom: entries, signed: signed, scaleRule: .absmax) }?.code
    }
    let good = (0..<16).map { Float($0 - 7) / 8 }
    #expect(code(good) == nil)
    #expect(code(Array(good.dropLast())) == .invalidMapTable)
    #expect(code(good, signed: false) == .invalidMapTable)
    for (index, value) in [(15, Float(0.99)), (3, .nan), (3, .infinity), (0, -1.5), (4, good[3]), (4, good[2])] {
      var bad = good
      bad[index] = value
      #expect(code(bad) == .invalidMapTable, "entry \(index) = \(value)")
    }
    var padded = good
    for index in 12..<16 { padded[index] = 1 }
    let table = try MapTable(custom: padded, signed: true, scaleRule: .absmax)
    #expect(table.distinctCount == 13)
    // Neighbours without a float32 between them have no threshold of their own.
    var crowded = good
    crowded[14] = Float(1).nextDown
    #expect(code(crowded) == .invalidMapTable)
  }

  @Test("A custom table has as many entries as a width has codes")
  func sizes() throws {
    for count in 0...300 {
      let entries = (0..<count).map { Float($0 + 1) / Float(count) }
      let made = try? MapTable(custom: entries, signed: false, scaleRule: .absmax)
      #expect((made != nil) == [4, 8, 16, 32, 64, 256].contains(count), "\(count) entries")
      guard let made else { continue }
      #expect(1 << made.bits == count)
      for bits in Scheme.widths {
        let scheme = Scheme(map: .custom, bits: bits, signed: false, scaling: .tensor, customTable: made)
        let error = failure { () throws(QCodecError) in _ = try TensorCodec(dtype: .f32, shape: [4], scheme: scheme) }
        #expect(error?.code == (bits == made.bits ? nil : .unsupportedScheme))
      }
    }
  }

  @Test("Imports may hold anything but are never encoded with")
  func imports() throws {
    var entries = (0..<16).map { Float(16 - $0) }
    entries[3] = .nan
    let table = try MapTable(custom: entries, signed: true, isImport: true, scaleRule: .unknown)
    #expect(table.isImport)
    let scheme = Scheme(
      map: .custom, bits: 4, signed: true, scaling: .block(64), rounding: .unknown, customTable: table)
    let codec = try TensorCodec(dtype: .f32, shape: [4], scheme: scheme)
    #expect(failure { () throws(QCodecError) in _ = try codec.encode([1, 2, 3, 4]) }?.code == .unsupportedScheme)
    let bytes: [UInt8] = [0, 0, 0x80, 0x3F, 0x01, 0x2F]
    let values = try codec.decode(bytes)
    #expect(values == [16, 15, 14, 1])
    let poisoned = failure { () throws(QCodecError) in _ = try codec.decode([0, 0, 0x80, 0x3F, 0x03, 0x2F]) }
    #expect(poisoned?.code == .invalidCode)
    #expect(poisoned?.index == 1)
  }

  @Test("No entry is infinite, of imports neither", arguments: [Float.infinity, -.infinity])
  func infinities(entry: Float) {
    var entries = (0..<16).map { Float($0) }
    entries[5] = entry
    let error = failure { () throws(QCodecError) in
      _ = try MapTable(custom: entries, signed: true, isImport: true, scaleRule: .unknown)
    }
    #expect(error?.code == .invalidMapTable)
  }
}
