import QCodec

/// Tables for first moments beside the named maps: the float types, and tables fitted to a tensor, as *The case for 4-bit
/// precision: k-bit Inference Scaling Laws* (arXiv:2212.09720) and HIGGS (arXiv:2411.17525) compare them.
enum FittedTables {
  /// The finite values of a float type over the greatest, each once: a sign, exponents and a mantissa, with subnormals.
  ///
  /// - Parameter last: mantissas of the greatest exponent that are values: all, or fewer where the type has NaN there.
  static func floats(exponentBits: Int, mantissaBits: Int, last: Int? = nil) -> [Float] {
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

  /// E4M3 (without its NaN), E5M2 (without infinities and NaN) and E2M1, as tables of 256 and 16.
  static let floatTables: [MapTable] = [
    floats(exponentBits: 4, mantissaBits: 3, last: 7), floats(exponentBits: 5, mantissaBits: 2, last: 0),
    floats(exponentBits: 2, mantissaBits: 1),
  ].compactMap { table($0) }

  /// A table of entries that end in +1, padded to 16 or 256; nil where two are too close for a threshold between them.
  static func table(_ entries: [Float]) -> MapTable? {
    guard let last = entries.last else { return nil }
    let size = entries.count <= 16 ? 16 : 256
    let padded = entries + [Float](repeating: last, count: size - entries.count)
    return try? MapTable(custom: padded, signed: true, scaleRule: entries[0] == -1 ? .absmax : .signedExtreme)
  }

  /// The table of 16 entries whose weighted squared error over samples is least, by Lloyd's iteration (Lloyd 1982; Max 1960)
  /// from quantiles; +1, which every block has, stays.
  ///
  /// - Parameters:
  ///   - samples: normalised values, −1 to 1, and the weight of each: the square of its scale.
  /// O(samples · (log samples + iterations)).
  static func lloydMax(_ samples: [(value: Float, weight: Double)], iterations: Int = 60) -> MapTable? {
    let sorted = samples.sorted { $0.value < $1.value }
    guard sorted.count >= 256 else { return nil }
    var weights = [0.0], products = [0.0]
    for sample in sorted {
      weights.append(weights[weights.count - 1] + sample.weight)
      products.append(products[products.count - 1] + sample.weight * Double(sample.value))
    }
    var entries = (0..<15).map { Double(sorted[(2 * $0 + 1) * sorted.count / 30].value) } + [1]
    for _ in 0..<iterations {
      var start = 0
      for index in 0..<15 {
        let threshold = (entries[index] + entries[index + 1]) / 2
        let end = sorted.partitioningIndex(from: start) { Double($0.value) > threshold }
        let weight = weights[end] - weights[start]
        if weight > 0 { entries[index] = (products[end] - products[start]) / weight }
        start = end
      }
    }
    return table(entries.map { Float($0) })
  }
}

extension [(value: Float, weight: Double)] {
  /// The first index from `start` on of which a condition holds that holds for all behind it.
  fileprivate func partitioningIndex(from start: Int, where holds: (Element) -> Bool) -> Int {
    var (low, high) = (start, count)
    while low < high {
      let middle = (low + high) / 2
      if holds(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
