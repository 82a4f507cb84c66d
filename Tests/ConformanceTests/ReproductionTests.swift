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
    #expect(try Fixtures.golden.files(".safetensors") == Self.names.map { "\($0).safetensors" })
    #expect(Self.names.count == 8)
  }

  @Test(arguments: names, [1, 3])
  func sameBytes(_ name: String, threads: Int) throws {
    let folder = try TemporaryFolder()
    let golden = try CheckpointReader(path: Fixtures.golden.path("\(name).qckpt"))
    let source = try SafetensorsFile(path: Fixtures.golden.path("\(name).safetensors"))
    let options = WriterOptions(compression: .none, threads: threads)
    let writer = try CheckpointWriter(path: folder.path("again.qckpt"), options: options)
    if golden.trailer.metadataLength > 0 { try writer.setMetadata(try golden.metadata()) }
    #expect(source.entries.count == golden.tensorCount)
    for index in 0..<golden.tensorCount {
      let info = golden.tensor(index)
      let entry = try #require(source.entries.first { $0.name == info.name }, "\(info.name)")
      #expect(entry.dtype == info.dtype && entry.shape == info.shape, "\(info.name)")
      try writer.add(
        name: info.name, dtype: info.dtype, shape: info.shape, role: info.role,
        encoding: info.scheme.map { .quantized($0) } ?? .lossless(reason: info.reason),
        source: source.source(of: entry))
    }
    _ = try writer.finish()
    let written = try Data(contentsOf: folder.url.appendingPathComponent("again.qckpt"))
    let expected = try Data(contentsOf: URL(fileURLWithPath: Fixtures.golden.path("\(name).qckpt")))
    let difference = zip(written, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    #expect(written == expected, "\(written.count) and \(expected.count) bytes, first other byte \(difference ?? -1)")
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
}
