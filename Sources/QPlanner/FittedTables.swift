import QCodec

/// Values of a first moment over their blocks' extremes, for tables to be fitted to, as HIGGS (arXiv:2411.17525) and *The
/// case for 4-bit precision* (arXiv:2212.09720) do for weights.
struct FittedTables {
  /// In ascending order, −1 to 1.
  private let values: [Float]
  /// Sums of weights, and of weights times values, before each value and after all.
  private var weights = [0.0]
  private var products = [0.0]

  /// Fewer tell nothing of a distribution.
  static let minSamples = 256

  /// - Parameters:
  ///   - samples: normalised values, −1 to 1, and the weight of each: the square of its scale.
  ///
  /// nil of fewer than 256. O(samples · log samples).
  init?(_ samples: [(value: Float, weight: Double)]) {
    guard samples.count >= Self.minSamples else { return nil }
    let sorted = samples.sorted { $0.value < $1.value }
    values = sorted.map(\.value)
    weights.reserveCapacity(samples.count + 1)
    products.reserveCapacity(samples.count + 1)
    for sample in sorted {
      weights.append(weights[weights.count - 1] + sample.weight)
      products.append(products[products.count - 1] + sample.weight * Double(sample.value))
    }
  }

  /// The table of a width whose weighted squared error over the samples is least, by Lloyd's iteration (Lloyd 1982; Max 1960)
  /// from `cubic`, than which it is no worse; +1, which every block has, stays.
  ///
  /// O(iterations · 2^bits · log samples).
  func lloydMax(bits: Int, iterations: Int = 60) -> MapTable? {
    guard let start = try? MapTable.named(.cubic, bits: bits, signed: true) else { return nil }
    var entries = start.entries.map { Double($0) }
    for _ in 0..<iterations {
      var begin = 0
      for index in 0..<entries.count - 1 {
        let threshold = (entries[index] + entries[index + 1]) / 2
        let end = place(from: begin) { Double($0) > threshold }
        let weight = weights[end] - weights[begin]
        if weight > 0 { entries[index] = (products[end] - products[begin]) / weight }
        begin = end
      }
    }
    return FloatTables.table(entries.map { Float($0) })
  }

  /// The table of a width whose entries but the last are the medians of as many equal shares of the samples, each once; the
  /// last is +1.
  func quantiles(bits: Int) -> MapTable? {
    let count = 1 << bits - 1
    var entries: [Float] = []
    for index in 0..<count {
      let value = values[(2 * index + 1) * values.count / (2 * count)]
      if value < 1, value > entries.last ?? -.infinity { entries.append(value) }
    }
    entries.append(1)
    // Values that many samples share leave so few that a lesser width has room for them: that is another table.
    return FloatTables.table(entries).flatMap { $0.bits == bits ? $0 : nil }
  }

  /// The first place from `start` on of which a condition holds that holds for all behind it.
  private func place(from start: Int, where holds: (Float) -> Bool) -> Int {
    var (low, high) = (start, values.count)
    while low < high {
      let middle = (low + high) / 2
      if holds(values[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
