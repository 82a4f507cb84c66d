import Foundation
import QCheckpoint
import QCodec
import QVerify
import Testing

@testable import QReport

@Suite struct PageTests {
  private static let samples =
    moments("blocks.0.weight", shape: [96, 64], seed: 1) + moments("blocks.1.weight", shape: [80, 64], seed: 2)
    + [Sample(name: "blocks.0.step", shape: [], values: [7])]

  /// Names that would do harm where they are taken for markup, or that hide what stands beside them.
  static let hostile = [
    "<script>alert(1)</script>", "</title></style></script></svg><b>", #"x" onmouseover="alert(1)"#,
    "' onload='alert(1)",
    "a&amp;b&#60;", "]]>--><!--", "\u{202E}gnp\u{2066}", "\u{0}\u{1B}[31m\n",
    "z" + String(repeating: "\u{300}", count: 3000),
    "漢字" + String(repeating: "漢", count: 500), "javascript:alert(1)", "\u{FFFE}\u{E0001}",
  ]

  @Test func aPageIsWellFormedWithAndWithoutAnOriginal() throws {
    let reader = try checkpoint(Self.samples)
    for against in [Self.samples, nil] {
      let page = ReportPage(try figures(reader, against: against)).html
      #expect(page.hasPrefix("<!DOCTYPE html>\n<html lang=\"en\">"))
      let elements = Elements(withoutCode(page))
      #expect(elements.failure == nil)
      let ids = elements.all.compactMap { $0.attributes["id"] }
      #expect(Set(ids).count == ids.count)
      // Whatever refers to an element finds it.
      for element in elements.all {
        for key in ["aria-labelledby", "aria-describedby"] {
          if let id = element.attributes[key] { #expect(ids.contains(id), "\(id)") }
        }
        if let place = element.attributes["href"] { #expect(ids.contains(String(place.dropFirst())), "\(place)") }
        #expect(element.attributes["src"] == nil)
      }
      let charts = elements.named("svg")
      #expect(charts.count >= 2 * (against == nil ? 5 : 8))
      #expect(charts.allSatisfy { $0.attributes["aria-labelledby"] != nil && $0.attributes["aria-describedby"] != nil })
      #expect(elements.named("summary").count == charts.count / 2)
    }
  }

  @Test func theSameFiguresGiveTheSameBytesAtEveryThreadCount() throws {
    let reader = try checkpoint(Self.samples)
    let page = ReportPage(try figures(reader, against: Self.samples, threads: 1)).html
    for threads in [1, 2, 5] {
      #expect(ReportPage(try figures(reader, against: Self.samples, threads: threads)).html == page)
    }
  }

  @Test func namesAreTextWhateverTheyHold() throws {
    let samples = Self.hostile.enumerated().flatMap { index, name in
      moments(name, shape: [64, 80], seed: UInt64(index))
    }
    let metadata = Dictionary(uniqueKeysWithValues: Self.hostile.map { ($0, $0) })
    let reader = try checkpoint(samples, metadata: metadata)
    let all = try figures(reader, against: samples, name: Self.hostile[0])
    let page = ReportPage(all, title: Self.hostile.joined()).html
    let elements = Elements(withoutCode(page))
    #expect(elements.failure == nil)
    #expect(elements.named("script").count == 1 && elements.named("b").isEmpty && elements.named("style").count == 1)
    let keys = Set(elements.all.flatMap { $0.attributes.keys })
    #expect(keys.filter { $0.hasPrefix("on") } == [])
    let invisible = page.unicodeScalars.filter { scalar in
      scalar != "\n" && [.control, .format, .lineSeparator, .unassigned].contains(scalar.properties.generalCategory)
    }
    #expect(invisible.isEmpty)
    #expect(elements.text.contains(#"<script>alert(1)</script>/"#) && elements.text.contains(#"\u{202e}gnp\u{2066}"#))
    #expect(page.utf8.count < 400_000)
  }

  @Test func tenThousandTensorsStayAPage() throws {
    let bits = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256))
    let tensors = (0..<10_000).map { index in
      var figures = TensorFigures(
        name: "model.layers.\(index / 10).part\(index % 10).weight/exp_avg", dtype: .f32, shape: [64, 64],
        role: .firstMoment,
        scheme: bits, elements: 4096, sourceBytes: 16_384, storedBytes: UInt64(4160 + index % 7),
        relativeL2Error: 0.001 * Double(1 + index % 100), maxAbsError: 0.5, guaranteedMaxAbsError: 1, zerosCreated: 0)
      if index == 7777 { figures.violations = 3 }
      return figures
    }
    var error = UpdateError(epsilon: 1e-8)
    (error.squaredError, error.squaredUpdate, error.maxAbsError) = (1, 10_000, 0.5)
    let pairs = tensors.map {
      PairFigures(first: $0.name, second: $0.name + "_sq", parameters: 4096, storedBytes: 8320, error: error)
    }
    let all = CheckpointFigures(
      name: "big", fileBytes: 1 << 26, formatVersion: (1, 0), verdict: .verified(VerificationReport(), compared: true),
      tensors: tensors, pairs: pairs)
    let page = ReportPage(all).html
    #expect(page.utf8.count < 1_000_000)
    let elements = Elements(withoutCode(page))
    #expect(elements.failure == nil)
    // What failed comes first.
    let place = try #require(page.range(of: "class=\"tensors\""))
    let row = try #require(page[place.upperBound...].range(of: "<tr class=\"bad\">"))
    #expect(!page[place.upperBound..<row.lowerBound].contains("<td"))
    #expect(page.contains("The 200 worst of 10,000 tensors"))
  }

  @Test func onlyTheScriptOfThePageMayRun() throws {
    let page = ReportPage(try figures(checkpoint([]), against: nil)).html
    #expect(page.contains("script-src &#39;\(PageScript.digest)&#39;"))
    #expect(
      !page.contains("http://")
        || page.components(separatedBy: "http://").count
          == page.components(separatedBy: "http://www.w3.org/2000/svg").count
    )
    #expect(!page.contains("https://") && !page.contains("url(") && !page.contains("@import"))
    #expect(page.contains("The file holds no tensor."))
  }
}
