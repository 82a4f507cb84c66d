import ArgumentParser
import QCheckpoint
import QCodec
import QVerify

/// `qcodec inspect`: what a checkpoint holds, without reading a chunk unless codes are asked for.
///
/// Of a file that was cut short it shows what can be salvaged, and fails all the same.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what a checkpoint holds, and its recorded errors and bounds.")

  @Argument(help: "The checkpoint; '-' is standard input.")
  var file: String

  @Option(name: .long, help: ArgumentHelp("Only tensors whose names match; may be repeated.", valueName: "glob"))
  var tensor: [String] = []

  @Flag(help: "Count the codes of each quantized tensor and give their entropy.")
  var codes = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func run() throws {
    let filter = try TensorFilter(tensor)
    let reader = try openOrListSalvage(filter)
    let indices = try filter.indices(in: reader, file: file)
    let summary = try concerning(file) { try CheckpointSummary(reader) }
    var histograms: [Int: CodeHistogram] = [:]
    if codes {
      for index in indices where reader.tensor(index).scheme != nil {
        histograms[index] = try concerning(file) { try CodeHistogram(reader, tensor: index) }
      }
    }
    if json {
      Terminal.print(summary.json(indices: indices, histograms: histograms).serialized(pretty: true))
    } else {
      let text = InspectSummary(summary)
      for line in text.lines(file: file) { Terminal.print(line) }
      Terminal.print(lines: text.table(indices: indices))
      for index in indices {
        guard let histogram = histograms[index] else { continue }
        for line in HistogramText.lines(histogram, name: reader.tensor(index).name) { Terminal.print(line) }
      }
    }
  }
}

extension InspectCommand {
  private func openOrListSalvage(_ filter: TensorFilter) throws -> CheckpointReader {
    let input = try Inputs.file(file)
    do { return try CheckpointReader(file: input) } catch {
      if error.leavesTensorsToSalvage {
        let summary = SalvageSummary(input, filter: filter)
        if json { Terminal.print(summary.json.serialized(pretty: true)) }
        if !json { for line in summary.lines() { Terminal.print(line) } }
      }
      throw Failure(error, file: file)
    }
  }
}

/// A histogram of codes as text.
enum HistogramText {
  /// A heading with the entropy, and up to sixteen bars, of which each stands for as many codes.
  static func lines(_ histogram: CodeHistogram, name: String) -> [String] {
    let bars = min(16, histogram.counts.count)
    let size = histogram.counts.count / bars
    let groups = (0..<bars).map { histogram.counts[$0 * size..<($0 + 1) * size].reduce(0, +) }
    let most = max(groups.max() ?? 1, 1)
    let used = histogram.counts.filter { $0 > 0 }.count
    var lines = [
      "",
      "\(name.escapingControls): entropy \(Decimal.text(histogram.entropy, digits: 3)) bits a code, \(used) of "
        + "\(histogram.counts.count) codes used",
    ]
    for (index, count) in groups.enumerated() {
      let range = size == 1 ? "\(index)" : "\(index * size)-\((index + 1) * size - 1)"
      let bar = String(repeating: "#", count: Int(Double(count) / Double(most) * 40))
      lines.append(String(repeating: " ", count: max(0, 9 - range.count)) + "\(range)  \(bar) \(count)")
    }
    return lines
  }
}
