import QCodec
import QVerify
import Testing

@testable import QCheckpoint

@Suite("Golden files")
struct GoldenTests {
  private static func reader(_ name: String) throws -> CheckpointReader {
    try CheckpointReader(path: Fixtures.golden.path("\(name).qckpt"))
  }

  /// A missing or unreadable expected.json would leave the other tests without cases.
  @Test func everyFileIsExpected() throws {
    #expect(try Fixtures.golden.files(".qckpt") == Fixtures.golden.names.map { "\($0).qckpt" }.sorted())
    #expect(Fixtures.golden.names.count == 34)
  }

  @Test(arguments: Fixtures.golden.names)
  func decodes(_ name: String) throws {
    let reader = try Self.reader(name)
    let expected = try #require(Fixtures.golden.expected[name])
    try reader.checkAllBytes()
    #expect("\(reader.formatVersion.major).\(reader.formatVersion.minor)" == expected["format_version"]?.stringValue)
    #expect(try reader.metadata() == expected["metadata"])
    #expect(reader.baseDigest?.description == expected["base"]?.stringValue)
    #expect(reader.baseFailure == nil)
    let tensors = try #require(expected["tensors"]?.arrayValue)
    #expect(reader.tensorCount == tensors.count)
    for (index, tensor) in tensors.enumerated() {
      let info = reader.tensor(index)
      #expect(info.name == tensor["name"]?.stringValue)
      #expect(info.dtype.name == tensor["dtype"]?.stringValue)
      #expect(
        info.shape == tensor["shape"]?.arrayValue?.compactMap { $0.integerValue.map(UInt64.init) }, "\(info.name)")
      let digest = xxh3(try reader.bytes(ofTensor: index))
      #expect(hexadecimal(digest) == tensor["xxh3"]?.stringValue, "\(info.name)")
    }
  }

  @Test(arguments: Fixtures.golden.names)
  func recordsAreThoseOfTheWriter(_ name: String) throws {
    let reader = try Self.reader(name)
    for (index, tensor) in try #require(Fixtures.golden.expected[name]?["tensors"]?.arrayValue).enumerated() {
      let info = reader.tensor(index)
      #expect(info.guaranteedMaxAbsError == (try tensor.double("guaranteed_max_abs_error")), "\(info.name)")
      #expect(info.guaranteedMaxRelError == (try tensor.double("guaranteed_max_rel_error")), "\(info.name)")
      #expect(info.reference.map { reader.tensor($0).name } == tensor["second_moment"]?.stringValue, "\(info.name)")
      guard let expected = tensor["statistics"] else {
        #expect(info.scheme == nil && info.statistics == TensorStatistics(), "\(info.name)")
        continue
      }
      let found = info.statistics
      #expect(found.maxAbsError == (try expected.double("max_abs_error")), "\(info.name)")
      #expect(found.maxScaledError == (try expected.double("max_scaled_error")), "\(info.name)")
      #expect(found.squaredError == (try expected.double("squared_error")), "\(info.name)")
      #expect(found.squaredSource == (try expected.double("squared_source")), "\(info.name)")
      #expect(Int64(found.zerosCreated) == (try expected.member("zeros_created").integerValue), "\(info.name)")
      #expect(Int64(found.signChanges) == (try expected.member("sign_changes").integerValue), "\(info.name)")
    }
  }

  @Test(arguments: Fixtures.golden.names)
  func updateErrorsAreThoseOfTheWriter(_ name: String) throws {
    let reader = try Self.reader(name)
    let expected = try #require(Fixtures.golden.expected[name]?["update_errors"]?.arrayValue)
    #expect(reader.measuredPairs.count == expected.count)
    for (pair, expected) in zip(reader.measuredPairs, expected) {
      let first = reader.tensor(pair.first).name
      #expect(first == expected["first"]?.stringValue)
      #expect(reader.tensor(pair.second).name == expected["second"]?.stringValue, "\(first)")
      #expect(pair.error.epsilon == (try expected.double("eps")), "\(first)")
      #expect(pair.error.squaredError == (try expected.double("squared_error")), "\(first)")
      #expect(pair.error.squaredUpdate == (try expected.double("squared_update")), "\(first)")
      #expect(pair.error.maxAbsError == (try expected.double("max_abs")), "\(first)")
      #expect(Int64(pair.error.zeroedSecondMoments) == (try expected.member("v_zeroed").integerValue), "\(first)")
      #expect(Int64(pair.error.signChanges) == (try expected.member("sign_changes").integerValue), "\(first)")
    }
  }

  @Test(arguments: Fixtures.golden.names)
  func verifierAccepts(_ name: String) throws {
    let report = try Verifier(try Self.reader(name)).verify()
    #expect(report.ok, "\(String(describing: report.firstViolation))")
    for tensor in report.tensors {
      // Neither writer records more than codes and scales admit.
      #expect(tensor.recomputedGuarantee == tensor.guaranteedMaxAbsError, "\(tensor.name)")
      #expect(tensor.recomputedRelGuarantee == tensor.guaranteedMaxRelError, "\(tensor.name)")
    }
  }

  @Test func referenceReaderAgrees() throws {
    let names = Fixtures.golden.names
    let paths = names.map { Fixtures.golden.path("\($0).qckpt") }
    guard let found = try ReferenceReader.read(paths, test: "GoldenTests.referenceReaderAgrees") else { return }
    for (name, path) in zip(names, paths) {
      let summary = try #require(found[path])
      let expected = try #require(Fixtures.golden.expected[name]?["tensors"]?.arrayValue)
      try #require(summary["code"] == nil, "\(name): \(summary)")
      let tensors = try #require(summary["tensors"]?.arrayValue)
      #expect(tensors.map { $0["sha256"] } == expected.map { $0["sha256"] }, "\(name)")
      #expect(tensors.map { $0["xxh3"] } == expected.map { $0["xxh3"] }, "\(name)")
    }
  }
}
