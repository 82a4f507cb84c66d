/// The seconds of several runs of one thing.
struct BenchSamples {
  private var seconds: [Double] = []

  /// Runs once and takes the time.
  mutating func measure(_ body: () throws -> Void) rethrows {
    let start = ContinuousClock.now
    try body()
    add(start.duration(to: .now) / .seconds(1))
  }

  /// Takes in a time; a clock too coarse for it counts as a nanosecond.
  mutating func add(_ time: Double) { seconds.append(max(time, 1e-9)) }

  var count: Int { seconds.count }

  /// The middle one, or the mean of the two in the middle.
  var median: Double {
    let sorted = seconds.sorted()
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
  }

  var least: Double { seconds.min() ?? 0 }

  var greatest: Double { seconds.max() ?? 0 }

  /// Bytes a second in units of 1e9: of the median, the slowest and the fastest run.
  func speed(bytes: Int) -> BenchSpeed {
    let gigabytes = Double(bytes) / 1e9
    return BenchSpeed(
      median: gigabytes / median, least: gigabytes / greatest, greatest: gigabytes / least, runs: count)
  }
}

/// Speeds of several runs, 1e9 bytes a second.
struct BenchSpeed {
  let median: Double
  let least: Double
  let greatest: Double
  let runs: Int
}
