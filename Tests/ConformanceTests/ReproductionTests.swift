import Foundation
import QCodec
import QVerify
import Testing

@testable import QCheckpoint

/// Golden files were written by another program; the Swift writer must write the same bytes.
@Suite("Golden files written again")
struct ReproductionTests {
  static let names = Fixtures.golden.names.filter { Fixtures.golden.expected[$0]?["reproducible"]?.boolValue == true }

  @Test func everySourceIsUsed() throws {
    #expect(try Fixtures.golden.files(".safetensors") == Self.names.map { "\($0).safetensors" }.sorted())
    #expect(Self.names.count == 15)
  }

  @Test(arguments: names, [1, 3])
  func sameBytes(_ name: String, threads: Int) throws {
    let folder = try TemporaryFolder()
    let golden = try CheckpointReader(path: Fixtures.golden.path("\(name).qckpt"))
    let source = try SafetensorsFile(path: Fixtures.golden.path("\(name).safetensors"))
    var options = WriterOptions(compression: .none, threads: threads)
    options.base = golden.base
    options.baseName = try golden.metadata()["base"]?["name"]?.stringValue
    let writer = try CheckpointWriter(path: folder.path("again.qckpt"), options: options)
    if golden.trailer.metadataLength > 0 { try writer.setMetadata(try golden.metadata()) }
    #expect(source.entries.count == golden.tensorCount)
    try Self.write(golden, source, to: writer)
    _ = try writer.finish()
    let written = try Data(contentsOf: folder.url.appendingPathComponent("again.qckpt"))
    let expected = try Data(contentsOf: URL(fileURLWithPath: Fixtures.golden.path("\(name).qckpt")))
    let difference = zip(written, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    #expect(written == expected, "\(written.count) and \(expected.count) bytes, first other byte \(difference ?? -1)")
  }

  /// Writes every tensor as the golden file has it: a pair where its first moment stands.
  private static func write(
    _ golden: CheckpointReader, _ source: SafetensorsFile, to writer: CheckpointWriter
  ) throws {
    let infos = (0..<golden.tensorCount).map { golden.tensor($0) }
    let seconds = Set(infos.compactMap(\.reference))
    for (index, info) in infos.enumerated() where !seconds.contains(index) {
      guard let second = info.reference else {
        try writer.add(
          name: info.name, dtype: info.dtype, shape: info.shape, role: info.role, encoding: encoding(of: info),
          source: try tensorSource(of: info, in: source))
        continue
      }
      try writer.addPair(
        first: try moment(info, in: source), second: try moment(infos[second], in: source), shape: info.shape,
        measuring: golden.measuredPairs.first { $0.first == index }?.error.epsilon)
    }
  }

  private static func encoding(of info: TensorInfo) -> Encoding {
    info.scheme.map { .quantized($0, reason: info.reason) } ?? .lossless(reason: info.reason)
  }

  private static func moment(_ info: TensorInfo, in source: SafetensorsFile) throws -> NewTensor {
    NewTensor(
      name: info.name, dtype: info.dtype, role: info.role, encoding: encoding(of: info),
      source: try tensorSource(of: info, in: source))
  }

  private static func tensorSource(of info: TensorInfo, in file: SafetensorsFile) throws -> any TensorSource {
    let entry = try #require(file.entries.first { $0.name == info.name }, "\(info.name)")
    #expect(entry.dtype == info.dtype && entry.shape == info.shape, "\(info.name)")
    return file.source(of: entry)
  }

  @Test(arguments: names)
  func originalVerifies(_ name: String) throws {
    let golden = try CheckpointReader(path: Fixtures.golden.path("\(name).qckpt"))
    let report = try Verifier(golden).verify(against: try openInput(path: Fixtures.golden.path("\(name).safetensors")))
    #expect(report.ok, "\(String(describing: report.firstViolation))")
    for (index, tensor) in report.tensors.enumerated() {
      #expect(tensor.maxAbsError == golden.tensor(index).statistics.maxAbsError, "\(tensor.name)")
    }
  }

  /// The verifier measures the update by code of its own; sums within a chunk have one order.
  @Test func verifierMeasuresTheSameUpdates() throws {
    let golden = try CheckpointReader(path: Fixtures.golden.path("update-measured.qckpt"))
    let original = try openInput(path: Fixtures.golden.path("update-measured.safetensors"))
    #expect(golden.measuredPairs.count == 10)
    for pair in golden.measuredPairs {
      let report = try Verifier(golden, epsilon: pair.error.epsilon).verify(against: original)
      #expect(report.tensors[pair.first].updateError == pair.error, "\(report.tensors[pair.first].name)")
      #expect(report.tensors[pair.first].secondMoment == golden.tensor(pair.second).name)
    }
  }
}
