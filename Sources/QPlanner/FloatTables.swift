import QCodec

/// Tables of the float types, for first moments beside the named maps, as *The case for 4-bit precision: k-bit Inference
/// Scaling Laws* (arXiv:2212.09720) compares them.
enum FloatTables {
  /// The finite values of a float type over the greatest, each once: a sign, exponents and a mantissa, with subnormals.
  ///
  /// - Parameter last: mantissas of the greatest exponent that are values: all, or fewer where the type has NaN there.
  static func values(exponentBits: Int, mantissaBits: Int, last: Int? = nil) -> [Float] {
    let mantissas = 1 << mantissaBits, exponents = 1 << exponentBits
    var magnitudes: [Double] = []
    for exponent in 0..<exponents {
      let count = exponent == exponents - 1 ? last ?? mantissas : mantissas
      for mantissa in 0..<count {
        let fraction = Double(mantissa) / Double(mantissas)
        // Subnormals have the exponent of the first normal ones.
        magnitudes.append(
          exponent == 0 ? fraction * 2 : (1 + fraction) * Double(sign: .plus, exponent: exponent, significand: 1))
      }
    }
    let greatest = magnitudes.max() ?? 1
    let positive = magnitudes.filter { $0 > 0 }.map { Float($0 / greatest) }.sorted()
    return positive.reversed().map { -$0 } + [0] + positive
  }

  /// E4M3 (without its NaN) and E5M2 (without infinities and NaN) as tables of 256; E3M2 and E2M3 of 64, E2M1 of 16, all
  /// of whose values are finite (OCP Microscaling Formats 1.0).
  static let all: [MapTable] = [
    values(exponentBits: 4, mantissaBits: 3, last: 7), values(exponentBits: 5, mantissaBits: 2, last: 0),
    values(exponentBits: 3, mantissaBits: 2), values(exponentBits: 2, mantissaBits: 3),
    values(exponentBits: 2, mantissaBits: 1),
  ].compactMap { table($0) }

  /// A table of entries that end in +1, padded to the least width that has room for them; nil where there is none, and where
  /// two entries are too close for a threshold between them.
  static func table(_ entries: [Float]) -> MapTable? {
    guard let last = entries.last, let bits = Scheme.widths.first(where: { 1 << $0 >= entries.count }) else {
      return nil
    }
    let padded = entries + [Float](repeating: last, count: 1 << bits - entries.count)
    return try? MapTable(custom: padded, signed: true, scaleRule: entries[0] == -1 ? .absmax : .signedExtreme)
  }
}
