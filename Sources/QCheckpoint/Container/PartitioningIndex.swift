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
