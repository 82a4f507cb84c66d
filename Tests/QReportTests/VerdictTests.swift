import QCheckpoint
import QCodec
import QVerify
import Testing

@testable import QReport

@Suite struct VerdictTests {
  private static let samples = moments("a.weight", shape: [96, 64], seed: 3)

  private func words(_ figures: CheckpointFigures) -> VerdictText { VerdictText(figures: figures) }

  @Test func theVerdictIsASentence() throws {
    let reader = try checkpoint(Self.samples)
    let all = try figures(reader, against: Self.samples)
    let error = try #require(all.updateError)
    let bits = try #require(all.bitsPerParameter)
    let stored = Double(reader.tensor(0).storedBytes + reader.tensor(1).storedBytes)
    #expect(bits == stored * 8 / 6144)
    #expect(words(all).badge == "Verified against the original")
    #expect(
      words(all).sentence
        == "Every one of the 2 tensors holds its recorded bound; the state takes \(NumberText.fixed(bits, digits: 2)) bits a "
        + "parameter, \(NumberText.fixed(64 / bits, digits: 2)) times smaller than float32; updates differ by at most "
        + "\(NumberText.error(error.maxAbsError)) (relative L2 \(NumberText.error(error.relativeL2Error))).")
    let plain = words(try figures(reader))
    #expect(plain.badge == "Verified" && plain.sentence.hasSuffix("is not recorded, and is measured with an original."))
    #expect(plain.defects == [])
  }

  @Test func withoutPairsItIsOfBytes() throws {
    let samples = [
      Sample(name: "layer.momentum_buffer", shape: [64, 64], values: Self.samples[0].values.prefix(4096).map { $0 })
    ]
    let all = try figures(checkpoint(samples), against: samples)
    #expect(
      words(all).sentence
        == "The one tensor holds its recorded bound; its tensors take 4.06 KiB, 3.94 times smaller than they were.")
    #expect(all.tradeOff == nil)
  }

  @Test func whatFailedIsToldOf() throws {
    let reader = try checkpoint(Self.samples)
    var other = Self.samples
    other[1].values[5] *= 3
    let all = try figures(reader, against: other)
    #expect(!all.verdict.ok && words(all).badge == "Failed verification")
    #expect(words(all).sentence.hasPrefix("Verification found 1 violation in 1 of 2 tensors; "))
    #expect(words(all).defects.count == 1)
    #expect(words(all).defects[0].hasPrefix("The first: an element exceeds its "))
    #expect(words(all).defects[0].hasSuffix("(tensor 'a.weight/exp_avg_sq', element 5)"))
    let page = Elements(withoutCode(ReportPage(all).html))
    #expect(page.named("tr").filter { $0.attributes["class"] == "bad" }.count == 1)
  }

  @Test func damagedFilesAreToldOfByTheirDirectories() throws {
    let reader = try checkpoint(Self.samples)
    let lines = (0..<25).map { "defect <\($0)>" }
    let all = try FigureCollector(reader, threads: 1).figures(name: "bad", verdict: .damaged(lines))
    #expect(all.schemes.isEmpty && all.tensors.count == 2 && words(all).badge == "Damaged")
    #expect(words(all).sentence.hasPrefix("The file is damaged in 25 places; "))
    let page = Elements(withoutCode(ReportPage(all).html))
    #expect(page.failure == nil)
    #expect(
      page.text.contains("defect <19>") && !page.text.contains("defect <20>") && page.text.contains("And 5 more."))
  }

  @Test func importsHaveNoGuarantee() {
    var tensor = TensorFigures(
      name: "a", dtype: .f32, shape: [1], role: .other, elements: 1, sourceBytes: 4, storedBytes: 4, relativeL2Error: 0,
      maxAbsError: 0, zerosCreated: 0)
    var all = CheckpointFigures(
      name: "a", fileBytes: 1, formatVersion: (1, 0), verdict: .verified(VerificationReport(), compared: false),
      tensors: [tensor], pairs: [])
    #expect(words(all).sentence.hasPrefix("Nothing is guaranteed of the 1 tensor, which are imports; "))
    tensor.guaranteedMaxAbsError = 0
    all.tensors.append(tensor)
    #expect(
      words(all).sentence.hasPrefix(
        "Every one of the 1 tensors with a bound holds its recorded bound, and nothing is guaranteed of 1 others; "))
    #expect(tensor.margin == nil)
    (tensor.guaranteedMaxAbsError, tensor.maxAbsError) = (4, 1)
    #expect(tensor.margin == 0.75)
  }
}
