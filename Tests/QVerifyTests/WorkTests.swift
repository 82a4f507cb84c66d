import Synchronization
import Testing

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// What progress is called with adds up to the work that was foretold.
@Suite struct WorkTests {
  /// A sum that any thread adds to.
  private final class Meter: Sendable {
    private let sum = Mutex<(bytes: UInt64, calls: Int)>((0, 0))
    var bytes: UInt64 { sum.withLock { $0.bytes } }
    var calls: Int { sum.withLock { $0.calls } }
    func add(_ bytes: UInt64) {
      sum.withLock {
        $0.bytes += bytes
        $0.calls += 1
      }
    }
  }

  /// A pair of moments of three chunks each, and tensors that are small, lossless or without elements.
  private func samples(seed: UInt64) -> [Sample] { pair(seed).samples + others }

  private func pair(_ seed: UInt64) -> PairSample { PairSample(pairValues(600_000, seed: seed), prefix: "w.") }

  private var others: [Sample] {
    [
      Sample("bytes", dtype: .u8, shape: [3_000_000], bytes: [UInt8](repeating: 7, count: 3_000_000)),
      Sample("none", dtype: .f32, shape: [0], bytes: []),
      Sample("step", dtype: .i64, shape: [], bytes: littleEndian(UInt64(5))),
    ]
  }

  @Test(arguments: [1, 3]) func verifying(threads: Int) throws {
    let samples = samples(seed: 71)
    let reader = try CheckpointReader(source: MemorySource(bytes: pairFile([pair(71)], others: others)))
    let verifier = Verifier(reader, threads: threads)
    // What is missing or altered is work, too.
    let altered = [samples[0].altered(5, to: 1e9)] + samples.dropFirst().dropLast()
    for source in [nil, original(samples), original(altered), original([samples[0]])] {
      let meter = Meter()
      _ = try verifier.verify(against: source) { meter.add($0) }
      #expect(meter.bytes == verifier.workBytes(against: source) && meter.calls > 10)
    }
    #expect(verifier.workBytes() == reader.fileBytes + 4 * 1_200_000 + 3_000_008)
    #expect(verifier.workBytes(against: original(samples)) == verifier.workBytes() + 4 * 1_200_000)
    let meter = Meter()
    try reader.checkAllBytes(threads: threads) { meter.add($0) }
    #expect(meter.bytes == reader.fileBytes)
  }

  @Test(arguments: [1, 3]) func comparing(threads: Int) throws {
    let (one, other) = (samples(seed: 72), samples(seed: 73))
    for (a, b) in [(one, one), (one, other), (one, Array(other.dropFirst())), (one, [])] {
      let comparison = CheckpointComparison(original(a), original(b), threads: threads)
      var (bytes, calls) = (UInt64(0), 0)
      _ = try comparison.compare {
        bytes += $0
        calls += 1
      }
      #expect(bytes == comparison.workBytes && calls >= a.count)
      let tensors = (a + b).reduce(0) { $0 + UInt64($1.bytes.count) }
      #expect(comparison.workBytes == tensors + (a.count == b.count ? 16 * 600_000 : 0))
    }
  }

  @Test func hashingAndWriting() throws {
    let samples = samples(seed: 74)
    let total = samples.reduce(0) { $0 + UInt64($1.bytes.count) }
    var (hashed, written, calls) = (UInt64(0), UInt64(0), 0)
    _ = try DocumentHasher(original(samples), threads: 2).hashes { hashed += $0 }
    let additions = samples.map { sample in
      Addition.tensor(
        NewTensor(
          name: sample.name, dtype: sample.dtype, encoding: .lossless(reason: .none),
          source: MemorySource(bytes: sample.bytes)), shape: sample.shape)
    }
    _ = try checkpointBytes { writer in
      try writer.add(
        additions,
        progress: {
          written += $0
          calls += 1
        })
    }
    // A large tensor is told of by its chunks, a small one at once.
    #expect(hashed == total && written == total && calls > additions.count)
  }
}
