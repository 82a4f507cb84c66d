/// Tensors that are prepared together, by their places: some 256 MiB of them and not too many, so that memory is bounded
/// whatever a checkpoint holds.
func windows(of count: Int, byteCount: (Int) -> UInt64) -> [Range<Int>] {
  var result: [Range<Int>] = []
  var (start, bytes) = (0, UInt64(0))
  for place in 0..<count {
    bytes += byteCount(place)
    guard bytes >= 256 << 20 || place + 1 - start == 4096 || place + 1 == count else { continue }
    result.append(start..<place + 1)
    (start, bytes) = (place + 1, 0)
  }
  return result
}

extension [Int] {
  /// The first place of an ascending array whose element satisfies `isAbove`, as all after it do.
  func partitioningIndex(_ isAbove: (Int) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if isAbove(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
