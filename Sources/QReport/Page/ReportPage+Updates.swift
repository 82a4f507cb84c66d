import QCheckpoint

extension ReportPage {
  // MARK: Size against update error

  var tradeOff: Section? {
    guard let tradeOff = figures.tradeOff else {
      guard !figures.pairs.isEmpty else { return nil }
      return Section(
        id: "tradeoff", title: "Size against update error",
        lead: [
          "The file does not record what coding did to the updates. Encode it with --measure-update, or make the report "
            + "with --against the original."
        ], content: [])
    }
    var table = DataTable(
      "size and update error", ["state", "bits a parameter", "relative L2", "largest error"])
    for point in tradeOff.points + tradeOff.front {
      table.add([
        .name(point.name),
        .number(NumberText.fixed(point.bitsPerParameter, digits: 3), point.bitsPerParameter),
        .number(NumberText.error(point.updateError), point.updateError),
        .number(NumberText.error(point.maxUpdateError), point.maxUpdateError),
      ])
    }
    var legend = [("own", "this file")]
    if tradeOff.points.contains(where: { $0.kind == .preset }) { legend.append(("preset", "presets")) }
    if tradeOff.front.count > 1 { legend.append(("ring own", "the best at each size")) }
    return Section(
      id: "tradeoff", title: "Size against update error", lead: Self.words(of: tradeOff),
      content: [
        Section.figure(
          TradeOffChart(tradeOff: tradeOff), id: "tradeoff-chart", legend: legend, table: table)
      ])
  }

  private static func words(of tradeOff: TradeOff) -> [String] {
    var words = [
      "What a trainer feels of its state is the update m / (√v + ε), where about 1 is a normal one. Towards the lower left "
        + "is better."
    ]
    guard tradeOff.points.contains(where: { $0.kind == .preset }) else {
      return tradeOff.front.isEmpty
        ? words + ["Other schemes can be compared where the original is there: --against."] : words
    }
    if let sample = tradeOff.sample {
      let pairs =
        sample.pairs == sample.allPairs
        ? sample.pairs == 1 ? "the one pair" : "all \(sample.pairs) pairs"
        : "\(NumberText.grouped(UInt64(sample.pairs))) of \(NumberText.count(sample.allPairs, "pair")), spaced evenly through the file"
      words.append(
        "All points are of the same sample of the original: \(NumberText.grouped(sample.parameters)) of "
          + "\(NumberText.grouped(sample.allParameters)) parameters, the leading rows of \(pairs). The presets were encoded "
          + "in memory.")
    } else {
      words.append("The presets were encoded in memory, from the whole of the original's moments.")
    }
    if tradeOff.front.count > 1 {
      words.append(
        "The line is the best that was found at each size, with a scheme for each tensor; qcodec plan writes a policy for any "
          + "size on it.")
    }
    return words
  }

  // MARK: Updates by layer

  var updates: Section? {
    let measured = figures.pairs.filter { $0.error != nil }
    guard !measured.isEmpty else { return nil }
    let chart = UpdateChart(figures.pairs)
    let exact = measured.filter { $0.error?.maxAbsError == 0 }.count
    var words = [
      "Pairs of moments in the order of the file; ε is \(measured[0].error?.epsilon ?? 0), the errors are "
        + (isMeasured ? "measured against the original." : "those that the encoder recorded.")
    ]
    if exact > 0 {
      words.append("\(NumberText.count(exact, "pair")) whose updates are exact \(exact == 1 ? "is" : "are") left out.")
    }
    if chart.rows.isEmpty { return Section(id: "updates", title: "Update error by layer", lead: words, content: []) }
    if chart.rows.count < measured.count - exact {
      words.append(
        "Of \(NumberText.grouped(UInt64(measured.count - exact))) pairs those that follow each other are taken together; “+9” is nine more."
      )
    }
    return Section(
      id: "updates", title: "Update error by layer", lead: words,
      content: [
        Section.figure(
          chart, id: "layers",
          legend: [("solid", "relative L2 error"), ("ring", "largest error of a single update")],
          table: table(of: measured))
      ])
  }

  private func table(of measured: [PairFigures]) -> DataTable {
    let worst = measured.enumerated().sorted {
      ($1.element.error?.relativeL2Error ?? 0, $0.offset) < ($0.element.error?.relativeL2Error ?? 0, $1.offset)
    }.prefix(Self.rows).map(\.element)
    var table = DataTable(
      Self.of(worst.count, measured.count, "pairs of the largest error"),
      ["first moment", "bits a parameter", "relative L2", "largest error", "second moments zeroed", "signs changed"])
    for pair in worst {
      guard let error = pair.error else { continue }
      table.add([
        .name(pair.first), .number(NumberText.fixed(pair.bitsPerParameter, digits: 2), pair.bitsPerParameter),
        .number(NumberText.error(error.relativeL2Error), error.relativeL2Error),
        .number(NumberText.error(error.maxAbsError), error.maxAbsError),
        .number(NumberText.grouped(error.zeroedSecondMoments), Double(error.zeroedSecondMoments)),
        .number(NumberText.grouped(error.signChanges), Double(error.signChanges)),
      ])
    }
    return table
  }
}
