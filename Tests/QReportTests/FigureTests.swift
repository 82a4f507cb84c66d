import QCheckpoint
import QCodec
import QVerify
import Testing

@testable import QReport

@Suite struct FigureTests {
  private static let samples =
    moments("b.weight", shape: [128, 64], seed: 5) + moments("a.weight", shape: [300, 1000], seed: 6)
    + moments("c.bias", shape: [64], seed: 7)

  @Test func everyElementIsCounted() throws {
    let all = try figures(checkpoint(Self.samples), against: Self.samples)
    #expect(all.schemes.map(\.elements) == [308_192, 308_192] && all.schemes.map(\.tensors) == [2, 2])
    for scheme in all.schemes {
      #expect(scheme.codes.counts.count == 256 && scheme.codes.counts.reduce(0, +) == scheme.elements)
      let block = scheme.scheme.map == .log ? 512 : 256
      #expect(scheme.scales.total == UInt64(8192 / block + (300_000 + block - 1) / block))
      let magnitudes = try #require(scheme.magnitudes)
      #expect(magnitudes.total == scheme.elements)
      // Of second moments every 97th is zero.
      #expect(magnitudes.zeros == (scheme.scheme.map == .log ? 85 + 3093 : 0))
    }
    #expect(all.roles.map(\.role) == [.firstMoment, .secondMoment] && all.roles.map(\.tensors) == [3, 3])
    #expect(all.storedBytes == all.roles.reduce(0) { $0 + $1.storedBytes })
  }

  @Test func magnitudesAreThoseOfThePlainDefinition() throws {
    let samples = Array(Self.samples[..<2])
    let reader = try checkpoint(samples, policy: "paper8")
    let all = try figures(reader, against: samples)
    let first = try #require(all.schemes.first { $0.scheme.signed }?.magnitudes)
    let bytes = try reader.bytes(ofTensor: try #require(reader.find("b.weight/exp_avg")))
    let decoded = unsafe bytes.withUnsafeBytes { buffer in
      (0..<8192).map { Double(unsafe buffer.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self)) }
    }
    for (decade, found) in first.occupied {
      let (low, high) = (power(ofTen: decade), power(ofTen: decade + 1))
      let members = zip(samples[0].values.map(Double.init), decoded).filter { (low..<high).contains($0.0.magnitude) }
      let errors = members.map { ($0.0 - $0.1).magnitude / $0.0.magnitude }
      #expect(found.count == UInt64(members.count))
      #expect(found.max == errors.max())
      #expect((found.mean - errors.reduce(0, +) / Double(errors.count)).magnitude < 1e-12)
      #expect(found.zeroed == UInt64(members.filter { $0.1 == 0 }.count))
    }
  }

  @Test func pairsStandInTheOrderOfTheFile() throws {
    let all = try figures(checkpoint(Self.samples), against: Self.samples)
    #expect(all.pairs.map(\.first) == ["b.weight/exp_avg", "a.weight/exp_avg", "c.bias/exp_avg"])
    #expect(all.pairs.map(\.second) == ["b.weight/exp_avg_sq", "a.weight/exp_avg_sq", "c.bias/exp_avg_sq"])
    #expect(all.pairs[2].error?.maxAbsError == 0 && all.pairs[2].bitsPerParameter > 40)
    #expect(UpdateChart(all.pairs).rows.map(\.shortName) == ["b", "a"])
  }

  @Test func presetsAreWhatAFileOfThemWouldBe() throws {
    let samples = Array(Self.samples[..<2] + Self.samples[4...])
    for policy in ["adam8", "adam4", "paper8", "paper4"] {
      let all = try figures(checkpoint(samples, policy: policy), against: samples)
      let tradeOff = try #require(all.tradeOff)
      #expect(tradeOff.sample == nil && tradeOff.front == [])
      #expect(tradeOff.points.map(\.name) == ["this file", "adam8", "adam4", "paper8", "paper4"])
      let same = try #require(tradeOff.points.first { $0.name == policy })
      #expect(
        tradeOff.points[0].updateError == same.updateError && same.maxUpdateError == tradeOff.points[0].maxUpdateError)
      #expect((tradeOff.points[0].bitsPerParameter - same.bitsPerParameter).magnitude < 1e-9)
      #expect(
        same.updateError == all.updateError?.relativeL2Error && same.maxUpdateError == all.updateError?.maxAbsError)
    }
  }

  @Test func largeStatesAreSampled() throws {
    let samples = moments("w", shape: [128, 256], seed: 8) + moments("u", shape: [4, 20_480], seed: 9)
    let reader = try checkpoint(samples)
    let original = document(samples)
    let report = try Verifier(reader, threads: 1).verify(against: original)
    var collector = FigureCollector(reader, original: original, threads: 1)
    collector.sampleLimit = 40_960
    let all = try collector.figures(name: "large", verdict: .verified(report, compared: true))
    let sample = try #require(all.tradeOff?.sample)
    // Halved until both fit: 20,480 parameters are 80 rows of 256, and one of 20,480; whole blocks either way.
    #expect(sample == TradeOff.Sample(pairs: 2, allPairs: 2, parameters: 40_960, allParameters: 114_688))
    let points = try #require(all.tradeOff?.points)
    #expect((points[0].updateError - points[1].updateError).magnitude < 1e-12)
    #expect(ReportPage(all).html.contains("40,960 of 114,688 parameters, the leading rows of all 2 pairs."))
  }

  @Test func aPlanHandsInItsFront() throws {
    var all = try figures(checkpoint(Self.samples), against: Self.samples)
    let plans = [(6.0, 0.2), (9.0, 0.05), (17.0, 0.004)].map { bits, error in
      TradeOff.Point(
        name: "plan at \(Int(bits))", kind: .plan, bitsPerParameter: bits, updateError: error, maxUpdateError: 1)
    }
    var tradeOff = try #require(all.tradeOff)
    (tradeOff.points, tradeOff.front) = (tradeOff.points + plans, plans)
    all.tradeOff = tradeOff
    let page = ReportPage(all).html
    let elements = Elements(withoutCode(page))
    #expect(elements.named("path").filter { $0.attributes["class"] == "front" }.count == 2)
    #expect(elements.text.contains("plan at 9") && elements.text.contains("the best at each size"))
  }

  @Test func areasAreProportional() throws {
    let all = try figures(checkpoint(Self.samples))
    var canvas = Canvas(width: 728)
    Treemap(tensors: all.tensors).draw(on: &canvas)
    let svg = Elements(canvas.markup(id: "a", styleClass: "wide", title: "", summary: "").source)
    let areas = try svg.named("rect").map { rectangle in
      // A pixel around each is left free.
      let sides = try ["width", "height"].map { try #require(rectangle.attributes[$0].flatMap(Double.init)) + 2 }
      return sides[0] * sides[1]
    }
    let bytes = all.tensors.map { Double($0.storedBytes) }.sorted(by: >)
    #expect(areas.count == 6)
    for (area, bytes) in zip(areas.sorted(by: >), bytes) where bytes > 4096 {
      #expect((area / (728 * 340) / (bytes / Double(all.storedBytes)) - 1).magnitude < 0.02)
    }
  }
}
