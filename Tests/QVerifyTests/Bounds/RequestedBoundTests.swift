import QCheckpoint
import Testing

@testable import QCodec
@testable import QVerify

/// What a verifier makes of the bound that a file says to keep.
@Suite("Requested bounds")
struct RequestedBoundTests {
  private static let values: [Float] = (0..<5000).map { Float($0 % 97) / 32 - 1 }

  private static func file(_ member: JSONValue) throws -> CheckpointReader {
    let scheme = Scheme(map: .linear, bits: 4, signed: true, scaling: .tensor)
    return try CheckpointReader(
      source: MemorySource(
        bytes: checkpointBytes { writer in
          try writer.setMetadata(.object([RequestedBound.member: member]))
          try writer.add(
            name: "x", dtype: .f32, shape: [5000], encoding: .quantized(scheme), source: MemorySource(values))
        }))
  }

  private static func report(_ bound: RequestedBound) throws -> VerificationReport {
    let tensor = InputTensor(name: "x", dtype: .f32, shape: [5000], source: MemorySource(values))
    let original = InputDocument(tensors: [tensor], metadata: [:], kind: "memory", files: [])
    return try Verifier(file(bound.json), threads: 2).verify(against: original)
  }

  @Test("Elements are held against it")
  func elements() throws {
    #expect(try Self.report(RequestedBound(.absolute, 0.3)).ok)
    #expect(try Self.report(RequestedBound(.absolute, 0.3, isOfRMS: true)).ok)
    for (kind, isOfRMS) in [(RequestedBound.Kind.absolute, false), (.absolute, true), (.relative, false)] {
      let report = try Self.report(RequestedBound(kind, 0.01, isOfRMS: isOfRMS))
      let first = try #require(report.firstViolation)
      #expect(first.reason.contains("asked for") && first.tensor == "x" && report.violations > 100)
      #expect(try #require(first.bound) < (try #require(first.expected) - #require(first.got)).magnitude)
    }
  }

  @Test("A member that is no bound is refused, where an original is at hand")
  func damaged() throws {
    let reader = try Self.file(.object(["kind": .string("absolute")]))
    #expect(try Verifier(reader).verify().ok)
    let nothing = InputDocument(tensors: [], metadata: [:], kind: "memory", files: [])
    let error = failure { _ = try Verifier(reader).verify(against: nothing) }
    #expect(error?.code == .metadataCorrupt)
  }
}
