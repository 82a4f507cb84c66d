import QCheckpoint
import QCodec

/// One measured row of `bench`.
struct BenchRow {
  let operation: String
  let scheme: BenchScheme
  let measures: Bool
  let level: KernelLevel
  let threads: Int
  let speed: BenchSpeed

  func json(copySpeed: Double) -> JSONValue {
    var block = JSONValue.null
    if case .block(let size) = scheme.scheme.scaling { block = .count(size) }
    return .object([
      "operation": .string(operation), "map": .string(scheme.name), "bits": .count(scheme.scheme.bits),
      "signed": .bool(scheme.scheme.signed), "scaling": .string(scheme.scheme.scaling.name), "block": block,
      "domain": .string(scheme.scheme.domain.name), "stats": .bool(measures), "kernels": .string(level.name),
      "threads": .count(threads), "gb_s": .number(speed.median), "gb_s_min": .number(speed.least),
      "gb_s_max": .number(speed.greatest), "runs": .count(speed.runs),
      "times_memcpy": .number(speed.median / copySpeed),
    ])
  }
}

/// Measures copying, reading and every row, run after run in turn, so that a busy machine slows all of them alike.
struct BenchRows {
  let rows: [BenchRow]
  let copy: BenchSpeed
  let read: BenchSpeed

  /// `done` is called after each scheme at each level.
  init(_ moments: BenchMoments, levels: [KernelLevel], threads: Int, runs: Int, done: () -> Void) throws {
    let targets = try (0..<2).map { _ in try BenchMemory(byteCount: 4 * moments.elements, hugePages: true) }
    let bandwidth = BenchBandwidth(source: moments.first, target: targets[0], threads: threads)
    for target in targets { target.touch() }
    var (copies, reads, rows) = (BenchSamples(), BenchSamples(), [BenchRow]())
    try bandwidth.copy()
    for level in levels {
      for scheme in BenchScheme.all {
        let codec = try BenchCodec(scheme, moments: moments, targets: targets, level: level, threads: threads)
        // One run that does not count: tables are made, and pages of the libraries touched.
        var scales = try codec.encode(measures: true)
        try codec.decode(scales: scales)
        var (plain, measured, decoded) = (BenchSamples(), BenchSamples(), BenchSamples())
        for _ in 0..<runs {
          try copies.measure { try bandwidth.copy() }
          try reads.measure { try bandwidth.read() }
          try plain.measure { scales = try codec.encode(measures: false) }
          try measured.measure { try codec.encode(measures: true) }
          try decoded.measure { try codec.decode(scales: scales) }
        }
        let bytes = scheme.byteCount(elements: moments.elements)
        for (operation, measures, samples) in [
          ("encode", false, plain), ("encode", true, measured), ("decode", false, decoded),
        ] {
          rows.append(
            BenchRow(
              operation: operation, scheme: scheme, measures: measures, level: level, threads: threads,
              speed: samples.speed(bytes: bytes)))
        }
        done()
      }
    }
    self.rows = rows
    copy = copies.speed(bytes: bandwidth.byteCount)
    read = reads.speed(bytes: bandwidth.byteCount)
  }
}
