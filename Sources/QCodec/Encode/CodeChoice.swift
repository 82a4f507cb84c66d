/// What a scheme's rounding makes of the nearest codes: keep-nonzero, own signs and stochastic rounding.
struct CodeChoice: Sendable {
  private let table: MapTable
  private let counter: StochasticCounter?
  /// Under keep-nonzero: the zero code and the smallest entries of either sign (unsigned maps: the positive twice).
  private let nonzero: (zero: UInt8, negative: UInt8, positive: UInt8)?
  /// Signed linear-nozero: the entries next to zero; an element takes the one of its own sign.
  private let own: (negative: UInt8, positive: UInt8)?

  init(table: MapTable, scheme: Scheme, tensor name: String) {
    self.table = table
    counter = scheme.rounding == .stochastic ? StochasticCounter(seed: scheme.seed, tensor: name) : nil
    nonzero =
      if scheme.rounding == .nearestKeepNonzero, let zero = table.entries.firstIndex(of: 0) {
        (UInt8(zero), UInt8(scheme.signed ? zero - 1 : zero + 1), UInt8(zero + 1))
      } else { nil }
    own =
      if scheme.map == .linearNoZero, scheme.signed, let positive = table.entries.firstIndex(where: { $0 > 0 }) {
        (UInt8(positive - 1), UInt8(positive))
      } else { nil }
  }

  /// Adjusts the nearest codes of a segment whose x, scales and normalised values stand in `scratch`.
  func adjust(_ scratch: SegmentScratch, count: Int, firstIndex: UInt64) {
    if let counter {
      unsafe table.entries.withUnsafeBufferPointer { entries in
        unsafe ScalarKernels.stochastic(
          scratch.values, count: count, entries: entries.baseAddress.unsafelyUnwrapped,
          distinct: table.distinctCount, counter: counter, firstIndex: firstIndex, codes: scratch.codes)
      }
    }
    if let nonzero {
      for i in 0..<count
      where unsafe scratch.codes[i] == nonzero.zero && scratch.x[i] != 0 && scratch.scales[i] != 0 {
        // Judged on x: its quotient may have underflowed to zero.
        let negative = unsafe (scratch.x[i] < 0) != (scratch.scales[i] < 0)
        unsafe scratch.codes[i] = negative ? nonzero.negative : nonzero.positive
      }
    }
    if let own {
      // Scales are magnitudes here, and −0 counts as zero, which takes the positive entry.
      for i in 0..<count where unsafe scratch.codes[i] == own.negative || scratch.codes[i] == own.positive {
        unsafe scratch.codes[i] = scratch.x[i] < 0 && scratch.scales[i] != 0 ? own.negative : own.positive
      }
    }
  }
}
