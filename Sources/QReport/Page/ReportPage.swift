import QCheckpoint
import QVerify

/// A report as one page of HTML that needs nothing else: no network, no other file, and no script to be read.
///
/// The same figures give the same bytes. The size is bounded whatever the number of tensors: charts take many as one, and
/// tables have the worst.
public struct ReportPage: Sendable {
  let figures: CheckpointFigures
  private let title: String

  /// A page on figures; `title` nil takes the file's name.
  public init(_ figures: CheckpointFigures, title: String? = nil) {
    self.figures = figures
    self.title = title ?? figures.name
  }

  /// The page.
  public var html: String {
    let sections = self.sections
    let page = Markup.element(
      "html", ["lang": "en"],
      .element(
        "head", [:], .element("meta", ["charset": "utf-8"]),
        .element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
        .element("meta", ["name": "color-scheme", "content": "light dark"]),
        .element("meta", ["http-equiv": "Content-Security-Policy", "content": Self.allowed]),
        .element("title", [:], .text("\(title.visible(limit: 200)) · qcodec report")),
        .element("style", [:], .trusted(PageStyle.source))),
      .element(
        "body", [:], .element("a", ["class": "skip", "href": "#main"], .text("Skip to the figures")),
        header(sections),
        .element("main", ["id": "main"], sections.map(\.markup)),
        .element("footer", [:], .text(footer)), .element("script", [:], .trusted(PageScript.source))))
    return "<!DOCTYPE html>\n" + page.source + "\n"
  }

  /// Whatever a file might bring in could load nothing and run nothing.
  private static let allowed =
    "default-src 'none'; style-src 'unsafe-inline'; script-src '\(PageScript.digest)'; base-uri 'none'; form-action 'none'"

  private var footer: String {
    let version = figures.formatVersion
    return
      "Made by qcodec report of a checkpoint of format \(version.major).\(version.minor). An update is m / (√v + ε); "
      + "x̂ is what x decodes to."
  }

  // MARK: Head

  private func header(_ sections: [Section]) -> Markup {
    let verdict = VerdictText(figures: figures)
    let links = sections.map { section in
      Markup.element("li", [:], .element("a", ["href": "#\(section.id)"], .text(section.title)))
    }
    let defects = verdict.defects.prefix(20).map { Markup.element("li", [:], .text($0.visible(limit: 600))) }
    let more = verdict.defects.count - defects.count
    return .element(
      "header", [:], .element("p", ["class": "eyebrow"], .text(eyebrow)),
      .element("h1", [:], .element("bdi", [:], .text(title.visible(limit: 200)))),
      .element("span", ["class": "badge \(figures.verdict.ok ? "good" : "bad")"], .text(verdict.badge)),
      .element("p", ["class": "verdict"], .text(verdict.sentence)),
      defects.isEmpty ? [] : .element("ul", ["class": "defects"], defects),
      more > 0 ? .element("p", ["class": "defects"], .text("And \(more) more.")) : [], headline,
      .element("nav", ["aria-label": "Sections"], .element("ul", [:], links)))
  }

  private var eyebrow: String {
    let version = figures.formatVersion
    let policy = figures.policy.map { " · policy \($0.visible(limit: 40))" } ?? ""
    return "qcodec report\(policy) · format \(version.major).\(version.minor)"
  }

  private var headline: Markup {
    let ratio = figures.fileBytes == 0 ? 0 : Double(figures.sourceBytes) / Double(figures.fileBytes)
    var items = [
      ("File", NumberText.bytes(figures.fileBytes), "of \(NumberText.bytes(figures.sourceBytes)) as given"),
      (
        "Smaller", "\(NumberText.fixed(ratio, digits: 2)) ×",
        "than the tensors as given"
      ),
    ]
    if let bits = figures.bitsPerParameter {
      items.append(("Bits a parameter", NumberText.fixed(bits, digits: 2), "both moments, 64 as float32"))
    } else if figures.storedBytes > 0 {
      let elements = figures.tensors.reduce(0.0) { $0 + Double($1.elements) }
      items.append(
        ("Bits a value", NumberText.fixed(Double(figures.storedBytes) * 8 / max(1, elements), digits: 2), "all tensors")
      )
    }
    if let error = figures.updateError {
      items.append(
        (
          "Update error", NumberText.error(error.relativeL2Error),
          "relative L2, at most \(NumberText.error(error.maxAbsError))"
        ))
    }
    let quantized = figures.tensors.filter { $0.scheme != nil }.count
    items.append(
      (
        "Tensors", NumberText.grouped(UInt64(figures.tensors.count)),
        "\(NumberText.grouped(UInt64(quantized))) quantized"
      ))
    return .element(
      "dl", ["class": "figures"],
      items.map { name, value, note in
        .element(
          "div", [:], .element("dt", [:], .text(name)),
          .element("dd", [:], .text(value), .element("small", [:], .text(note))))
      })
  }
}
