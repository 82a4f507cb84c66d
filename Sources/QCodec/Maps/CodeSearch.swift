/// Finds the number of thresholds below a value in a few steps.
///
/// The upper 16 bits of a float32 choose a bucket whose first code is tabulated (64 KiB); what is left of the search
/// is to step over the few thresholds inside the bucket, at most `steps` of them.
package struct CodeSearch: Sendable {
  /// For each bucket the number of thresholds below its least value.
  package let first: [UInt8]
  /// The thresholds, padded with +∞ so that stepping needs no bounds check.
  package let padded: [Float]
  /// The most thresholds that any bucket in [−1, 1] holds.
  package let steps: Int

  init(thresholds: [Float]) {
    var first = [UInt8](repeating: 0, count: 65_536)
    var steps = 0
    for bucket in 0..<65_536 {
      let near = Float(bitPattern: UInt32(bucket) << 16)
      let far = Float(bitPattern: UInt32(bucket) << 16 | 0xFFFF)
      // Values beyond ±1 and NaN are never looked up.
      guard near.magnitude <= 1 else { continue }
      let (least, greatest) = near.sign == .minus ? (far, near) : (near, far)
      let below = Self.count(of: thresholds, below: least)
      first[bucket] = UInt8(below)
      steps = max(steps, Self.count(of: thresholds, below: greatest) - below)
    }
    self.first = first
    self.steps = steps
    padded = thresholds + [Float](repeating: .infinity, count: 512 - thresholds.count)
  }

  private static func count(of thresholds: [Float], below value: Float) -> Int {
    var low = 0
    var high = thresholds.count
    while low < high {
      let middle = (low + high) / 2
      if thresholds[middle] < value { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
