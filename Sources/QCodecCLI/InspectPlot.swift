import QCheckpoint
import QCodec
import QVerify

/// What `inspect --plot` draws: a picture of each chosen tensor, or of all tensors of one scheme together.
struct InspectPlot {
  /// One picture's tensors.
  private struct Group {
    let title: String
    var indices: [Int]
  }

  private let reader: CheckpointReader
  private let groups: [Group]
  /// Of the tensors chosen.
  private let lossless: [Int]

  /// - Parameter isSingle: whether each tensor has a picture of its own.
  init(_ reader: CheckpointReader, indices: [Int], isSingle: Bool) {
    self.reader = reader
    lossless = indices.filter { reader.tensor($0).scheme == nil }
    var groups: [Group] = []
    var places: [String: Int] = [:]
    for index in indices {
      let info = reader.tensor(index)
      guard let scheme = info.scheme else { continue }
      let text = Describe.scheme(scheme)
      if isSingle {
        groups.append(Group(title: "\(info.name.escapingControls): \(text)", indices: [index]))
      } else if let place = places[text] {
        groups[place].indices.append(index)
      } else {
        places[text] = groups.count
        groups.append(Group(title: text, indices: [index]))
      }
    }
    self.groups = groups
  }

  /// Reads the tensors, with progress, and draws each picture when it is there.
  func draw(file: String, width: Int, blocks: Blocks, threads: Int) throws {
    let total = groups.flatMap(\.indices).reduce(0) { $0 + reader.tensor($1).sourceBytes }
    let progress = Progress(total: total)
    defer { progress.finish() }
    for group in groups {
      let profile = try profile(of: group, file: file, threads: threads, progress: progress)
      let plot = PlotText(profile, width: width, blocks: blocks)
      var lines = [heading(group, width: width)] + plot.lines
      lines += errors(of: group, width: width, blocks: blocks)
      Terminal.print(lines: (lines + [""]).map { PlotText.cut($0, to: width) })
    }
    if let line = losslessLine { Terminal.print(PlotText.cut(line, to: width)) }
  }

  private func profile(
    of group: Group, file: String, threads: Int, progress: Progress
  ) throws -> TensorProfile {
    try concerning(file) {
      var total: TensorProfile?
      for index in group.indices {
        let own = try TensorProfile(reader, tensor: index, threads: threads) { progress.advance($0) }
        if total == nil { total = own } else { total?.append(own) }
      }
      guard let total else { preconditionFailure("a tensor began the group") }
      return total
    }
  }

  private func heading(_ group: Group, width: Int) -> String {
    let elements = group.indices.reduce(0) { $0 + reader.tensor($1).elementCount }
    let count = group.indices.count == 1 ? "" : "\(group.indices.count) tensors, "
    let text = PlotText.cut("\(group.title), \(count)\(elements) elements", to: width)
    return Terminal.usesStyle ? "\u{1B}[1m\(text)\u{1B}[0m" : text
  }

  private var losslessLine: String? {
    guard !lossless.isEmpty else { return nil }
    let bytes = lossless.reduce(0) { $0 + reader.tensor($1).sourceBytes }
    return "lossless, exact: \(lossless.count) tensor\(lossless.count == 1 ? "" : "s"), \(ByteSize.text(bytes))"
  }

  // MARK: Errors

  /// What the encoder recorded, the largest error against what is guaranteed at most.
  private func errors(of group: Group, width: Int, blocks: Blocks) -> [String] {
    let infos = group.indices.map { reader.tensor($0) }
    var total = TensorStatistics()
    for info in infos { total.append(info.statistics) }
    var lines = ["errors", "  relative L2  \(Decimal.scientific(total.relativeL2Error))"]
    // Of tensors without a guarantee there is nothing to draw against.
    let bounded = infos.compactMap { info in info.guaranteedMaxAbsError.map { (info: info, bound: $0) } }
    guard bounded.count == infos.count,
      let worst = bounded.max(by: { Self.share($0) < Self.share($1) })
    else { return lines + ["  largest      \(Decimal.scientific(total.maxAbsError)), nothing is guaranteed"] }
    let share = Self.share(worst)
    let text =
      "\(Decimal.scientific(worst.info.statistics.maxAbsError)), \(Decimal.text(share * 100, digits: 0)) % of the bound "
      + Decimal.scientific(worst.bound)
    let room = min(width - text.count - 18, 30)
    let bar = room < 4 ? "" : "[\(PlotText.painted(blocks.bar(share, width: room)))] "
    lines.append("  largest      \(bar)\(text)")
    if infos.count > 1 { lines.append("               (tensor '\(worst.info.name.escapingControls)')") }
    let relative = infos.compactMap(\.guaranteedMaxRelError).max()
    if let relative, relative > 0 { lines.append("  guaranteed   \(Decimal.scientific(relative)) relative") }
    return lines
  }

  private static func share(_ tensor: (info: TensorInfo, bound: Double)) -> Double {
    tensor.bound == 0 ? 0 : tensor.info.statistics.maxAbsError / tensor.bound
  }
}
