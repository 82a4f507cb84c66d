import QCheckpoint

extension ReportPage {
  /// Schemes beyond these, of the fewest elements, are left out of the charts.
  private static let mostSchemes = 8

  private func heading(_ scheme: SchemeFigures) -> String {
    "\(scheme.scheme.label) · \(NumberText.count(scheme.tensors, "tensor"))"
  }

  private func leftOut(_ count: Int) -> [String] {
    count > Self.mostSchemes
      ? ["The \(Self.mostSchemes) schemes of the most elements are shown, of \(count)."] : []
  }

  // MARK: Error against magnitude

  var magnitudes: Section? {
    let schemes = figures.schemes.filter { $0.magnitudes != nil }
    guard !schemes.isEmpty else { return nil }
    let charts = schemes.prefix(Self.mostSchemes).enumerated().compactMap { index, scheme -> Markup? in
      guard let histogram = scheme.magnitudes else { return nil }
      let chart = MagnitudeChart(scheme: scheme.scheme.label, histogram: histogram)
      var table = DataTable(
        "errors by decade", ["|x| from", "values", "share", "mean error", "largest error", "decode to zero"])
      for (decade, figures) in histogram.occupied {
        table.add([
          .number(NumberText.power(of: decade), Double(decade)),
          .number(NumberText.grouped(figures.count), Double(figures.count)),
          .number(NumberText.share(chart.share(figures)), chart.share(figures)),
          .number(NumberText.error(figures.mean), figures.mean), .number(NumberText.error(figures.max), figures.max),
          .number(NumberText.grouped(figures.zeroed), Double(figures.zeroed)),
        ])
      }
      return Section.figure(
        chart, id: "magnitude-\(index)", heading: heading(scheme),
        legend: index == 0 ? [("solid", "mean"), ("ring", "largest")] : [], table: table)
    }
    return Section(
      id: "magnitudes", title: "Error against magnitude",
      lead: [
        "How far a value is off relative to itself, by decade of its magnitude; the bars are the share of the values in "
          + "each decade.",
        "Small values beside large ones cost most where a block has one scale; log codes keep the relative error "
          + "of every value within a bound.",
      ] + leftOut(schemes.count), content: charts)
  }

  // MARK: Codes and scales

  var histograms: Section? {
    guard !figures.schemes.isEmpty else { return nil }
    let charts = figures.schemes.prefix(Self.mostSchemes).enumerated().map { index, scheme in
      let chart = SchemeChart(figures: scheme)
      var table = DataTable("codes and scales", ["codes or scales", "share"])
      for (name, share) in chart.rows { table.add([.text(name), .text(share)]) }
      return Section.figure(chart, id: "codes-\(index)", heading: heading(scheme), table: table)
    }
    return Section(
      id: "codes", title: "Codes and scales",
      lead: [
        "How often each code occurs, over all tensors of a scheme, and how large their scales are.",
        "The entropy is what an ideal coder of single codes would need: what is left to lossless compression.",
      ] + leftOut(figures.schemes.count), content: charts)
  }
}
