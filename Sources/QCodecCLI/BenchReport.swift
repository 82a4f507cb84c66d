import QCheckpoint
import QCodec

/// What `bench` measured, for programs and for people.
struct BenchReport {
  let machine = BenchMachine()
  let elements: Int
  let levels: [KernelLevel]
  let threads: Int
  let measured: BenchRows
  /// nil where they were not measured.
  let staged: [BenchStages.Row]?
  /// nil where none was asked for.
  let checkpoint: [BenchCheckpoint.Row]?
  /// nil where it was not asked for.
  let opened: [BenchOpen.Row]?

  var json: JSONValue {
    var members: [String: JSONValue] = [
      "machine": machine.json, "kernels": .array(levels.map { .string($0.name) }), "elements": .count(elements),
      "memcpy_gb_s": .number(measured.copy.median), "read_gb_s": .number(measured.read.median),
      "results": .array(measured.rows.map { $0.json(copySpeed: measured.copy.median) }),
    ]
    if let staged { members["stages"] = .array(staged.map { $0.json(copySpeed: measured.copy.median) }) }
    if let checkpoint { members["checkpoint"] = .array(checkpoint.map(\.json)) }
    if let opened { members["open"] = .array(opened.map(\.json)) }
    return .object(members)
  }

  func lines(width: Int?) -> [String] {
    let runs = measured.rows.first?.speed.runs ?? 0
    var lines = [
      "\(machine.cpu), \(machine.processors) processors, \(machine.system)".escapingControls,
      "\(elements) float32 elements, \(threads) thread\(threads == 1 ? "" : "s"), medians of \(runs); GB/s of float32",
      "memcpy \(Decimal.text(measured.copy.median, digits: 2)) GB/s, reading "
        + "\(Decimal.text(measured.read.median, digits: 2)) GB/s",
      "",
    ]
    lines += table.lines(width: width, leading: 3)
    if let staged {
      lines.append("")
      lines += table(staged).lines(width: width, leading: 3)
    }
    if let checkpoint {
      lines.append("")
      lines += Self.table(checkpoint).lines(width: width, leading: 2)
    }
    if let opened {
      lines.append("")
      lines += Self.table(opened).lines(width: width, leading: 1)
    }
    return lines
  }

  private var table: TextTable {
    var table = TextTable(["scheme", "operation", "kernels", "GB/s", "of memcpy", "measuring", "of plain"])
    for (index, row) in measured.rows.enumerated() where !row.measures {
      let speed = row.speed.median
      // What measures follows what does not.
      let other = index + 1 < measured.rows.count ? measured.rows[index + 1] : row
      table.add([
        row.scheme.title, row.operation, row.level.name, Decimal.text(speed, digits: 2),
        Decimal.text(speed / measured.copy.median, digits: 2),
        other.measures ? Decimal.text(other.speed.median, digits: 2) : "",
        other.measures ? Decimal.text(other.speed.median / speed, digits: 2) : "",
      ])
    }
    return table
  }

  private func table(_ rows: [BenchStages.Row]) -> TextTable {
    var table = TextTable(["in memory", "operation", "compression", "GB/s", "of memcpy", "file", "smaller"])
    for row in rows {
      table.add([
        row.policy, row.operation, row.compression.name, Decimal.text(row.speed.median, digits: 2),
        Decimal.text(row.speed.median / measured.copy.median, digits: 2), ByteSize.text(UInt64(row.fileBytes)),
        Decimal.text(Double(row.bytes) / Double(row.fileBytes), digits: 2),
      ])
    }
    return table
  }

  private static func table(_ rows: [BenchCheckpoint.Row]) -> TextTable {
    var table = TextTable(["checkpoint", "compression", "of", "file", "s", "least", "most", "beyond the arrays"])
    for row in rows {
      let samples = row.samples
      table.add([
        row.operation, row.compression.name, ByteSize.text(UInt64(row.bytes)), ByteSize.text(row.fileBytes),
        Decimal.text(samples.median, digits: 3), Decimal.text(samples.least, digits: 3),
        Decimal.text(samples.greatest, digits: 3), row.extraMemory.map { ByteSize.text($0) } ?? "",
      ])
    }
    return table
  }

  private static func table(_ rows: [BenchOpen.Row]) -> TextTable {
    var table = TextTable(["opening", "tensors", "file", "ms", "least", "most", "µs a name"])
    for row in rows {
      let samples = row.opening
      table.add([
        "open", String(row.tensors), ByteSize.text(row.fileBytes), Decimal.text(samples.median * 1e3, digits: 2),
        Decimal.text(samples.least * 1e3, digits: 2), Decimal.text(samples.greatest * 1e3, digits: 2),
        Decimal.text(row.finding.median * 1e6, digits: 2),
      ])
    }
    return table
  }
}
