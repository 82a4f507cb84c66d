import ArgumentParser
import QCheckpoint
import QCodec
import QVerify

/// `qcodec inspect`: what a checkpoint holds, without reading a chunk unless codes are asked for.
///
/// Of a file that was cut short it shows what can be salvaged, and fails all the same.
struct InspectCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what a checkpoint holds, and its recorded errors and bounds.",
    discussion: """
      Reads the directory alone, and chunks only for --codes and --plot, which need the base of a checkpoint that has one. \
      Of a checkpoint that was cut short it shows what can be salvaged.

      EXAMPLES:
        qcodec inspect optimizer.qckpt
        qcodec inspect optimizer.qckpt --plot
        qcodec inspect optimizer.qckpt --plot --tensor 'exp_avg_sq*' --ascii
        qcodec inspect optimizer.qckpt --codes --json
      """)

  @Argument(help: "The checkpoint; '-' is standard input.", completion: Completions.checkpoints)
  var file: String

  @Option(name: .long, help: ArgumentHelp("Only tensors whose names match; may be repeated.", valueName: "glob"))
  var tensor: [String] = []

  @Flag(help: "Count the codes of each quantized tensor and give their entropy.")
  var codes = false

  @Flag(
    help:
      "Draw the codes, scales and errors: of each tensor that --tensor chooses, else of each scheme's tensors together."
  )
  var plot = false

  @Flag(help: "Draw with ASCII characters alone, as is done where the locale is not UTF-8.")
  var ascii = false

  @OptionGroup var bases: BaseOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Show no progress while codes are counted.")
  var quiet = false

  func validate() throws {
    if plot, json {
      throw ValidationError("--plot draws for people, --json prints for programs; --codes has the counts")
    }
    if ascii, !plot { throw ValidationError("--ascii goes with --plot") }
  }

  func run() throws {
    let filter = try TensorFilter(tensor)
    let reader = try openOrListSalvage(filter)
    let indices = try filter.indices(in: reader, file: file)
    let summary = try concerning(file) { try CheckpointSummary(reader) }
    var histograms: [Int: CodeHistogram] = [:]
    if codes { histograms = try countCodes(reader, indices) }
    if json {
      Terminal.print(summary.json(indices: indices, histograms: histograms).serialized(pretty: true))
    } else {
      let text = InspectSummary(summary)
      for line in text.lines(file: file) { Terminal.print(line) }
      if plot {
        let picture = InspectPlot(reader, indices: indices, isSingle: !tensor.isEmpty)
        let blocks = Blocks.preferred(ascii: ascii)
        try picture.draw(file: file, width: Terminal.pictureWidth, blocks: blocks, threads: threads.count)
      } else {
        Terminal.print(lines: text.table(indices: indices))
      }
      for index in indices {
        guard let histogram = histograms[index] else { continue }
        for line in HistogramText.lines(histogram, name: reader.tensor(index).name) { Terminal.print(line) }
      }
    }
  }
}

extension InspectCommand {
  private func countCodes(_ reader: CheckpointReader, _ indices: [Int]) throws -> [Int: CodeHistogram] {
    let quantized = indices.filter { reader.tensor($0).scheme != nil }
    let progress = Progress(total: quantized.reduce(0) { $0 + reader.tensor($1).sourceBytes })
    defer { progress.finish() }
    return try concerning(file) {
      try quantized.reduce(into: [:]) { histograms, index in
        let profile = try TensorProfile(reader, tensor: index, threads: threads.count) { progress.advance($0) }
        histograms[index] = profile.codes
      }
    }
  }

  private func openOrListSalvage(_ filter: TensorFilter) throws -> CheckpointReader {
    let input = try Inputs.file(file)
    let bases = try bases.readers()
    do { return try CheckpointReader(file: input, folder: FilePlace(file).folder, bases: bases) } catch {
      if error.leavesTensorsToSalvage {
        let summary = SalvageSummary(input, filter: filter, bases: bases)
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
