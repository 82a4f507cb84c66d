import CCampaign
import QCheckpoint
import QCodec
import Synchronization

/// What the threads of a campaign share: the number of the next case, and the report.
private final class Tally: Sendable {
  let next: Atomic<UInt64>
  let report = Mutex(CampaignReport())

  init(first: UInt64) { next = Atomic(first) }
}

/// Many cases over some files; each follows from the seed and its number alone.
struct Campaign: Sendable {
  let files: [IntactFile]
  let seed: UInt64
  let threads: Int

  /// What a case is, before it is run: the files take turns, and the ways to damage them.
  private func plan(_ number: UInt64) -> (file: IntactFile, mutation: Mutation) {
    let file = files[Int(number % UInt64(files.count))]
    let mutations = Mutation.allCases.filter { !$0.needsChunks || file.chunks.count > 1 }
    return (file, mutations[Int(number / UInt64(files.count) % UInt64(mutations.count))])
  }

  /// Runs one case.
  func run(case number: UInt64) -> CaseResult {
    let (file, mutation) = plan(number)
    var generator = CaseGenerator(seed: seed, number: number)
    let damaged = DamagedFile(file, mutation, by: &generator)
    return CaseRun(file, damaged).run(number: number, mutation: mutation)
  }

  /// The damaged file of a case.
  func damagedBytes(ofCase number: UInt64) -> [UInt8] {
    let (file, mutation) = plan(number)
    var generator = CaseGenerator(seed: seed, number: number)
    return DamagedFile(file, mutation, by: &generator).bytes
  }

  /// The path of the file that a case damages.
  func path(ofCase number: UInt64) -> String { plan(number).file.path }

  /// Runs the cases of a range; `progress` is given how many are done, from any thread.
  func run(
    _ cases: Range<UInt64>, progress: @escaping @Sendable (Int) -> Void
  ) throws(QCodecError) -> CampaignReport {
    campaign_tell_crashes()
    let tally = Tally(first: cases.lowerBound)
    // Results fall into the report as they come: it does not depend on their order.
    try parallelFor(count: threads, threads: threads) { (worker) throws(QCodecError) in
      while true {
        let number = tally.next.add(1, ordering: .relaxed).oldValue
        guard number < cases.upperBound else { return }
        campaign_begin(Int32(worker), number)
        let result = run(case: number)
        campaign_end(Int32(worker))
        let path = path(ofCase: number)
        let done = tally.report.withLock { report in
          report.add(result, path: path)
          return report.cases
        }
        progress(done)
      }
    }
    return tally.report.withLock { $0.sorted }
  }
}
