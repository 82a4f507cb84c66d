import ArgumentParser
import CCampaign
import QCheckpoint
import QCodec
import QVerify

/// `qcodec-corpus forge`: changes checkpoints on purpose, every sum of directory and trailer right, and opens them.
struct ForgeryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forge",
    abstract:
      "Forge checkpoints: none may crash a reader, and a verifier finds all whose frames were left as they were.",
    discussion:
      "What is accepted with other values here is what checksums cannot find. Exits with status 1 where a verifier "
      + "passes over frames that are not what the directory says.")

  @Argument(help: "Sound checkpoints, of which copies are forged in memory.")
  var files: [String]

  @Option(help: "How many cases to run.")
  var cases: UInt64 = 10_000

  @Option(help: "What all cases follow from.")
  var seed: UInt64 = 1

  fileprivate struct Count {
    var cases = 0
    var refusedByReading = 0
    var refusedByVerifying = 0
    var accepted = 0
  }

  func run() throws {
    let files = try files.map { try IntactFile(path: $0) }
    guard !files.isEmpty else { throw ValidationError("there is no file to forge") }
    campaign_tell_crashes()
    var counts: [Forgery: Count] = [:]
    var missed: [UInt64] = []
    for number in 0..<cases {
      let forgery = Forgery.allCases[Int(number / UInt64(files.count) % UInt64(Forgery.allCases.count))]
      var generator = CaseGenerator(seed: seed, number: number)
      guard let forged = ForgedFile(files[Int(number % UInt64(files.count))], forgery, by: &generator) else { continue }
      campaign_begin(0, number)
      let count = Self.judge(forged.bytes)
      campaign_end(0)
      counts[forgery, default: Count()].add(count)
      if forgery.leavesFrames, count.accepted > 0 { missed.append(number) }
    }
    for forgery in Forgery.allCases {
      guard let count = counts[forgery] else { continue }
      print(
        "\(forgery.rawValue): \(count.cases) cases, refused by reading \(count.refusedByReading), by verifying "
          + "\(count.refusedByVerifying), accepted \(count.accepted)")
    }
    for number in missed { print("case \(number): a verifier passes over frames that are not the directory's") }
    if !missed.isEmpty { throw ExitCode(1) }
  }

  /// Opens, reads and verifies a file.
  private static func judge(_ bytes: [UInt8]) -> Count {
    let reader: CheckpointReader
    do throws(QCodecError) {
      reader = try CheckpointReader(source: MemorySource(bytes: bytes))
      _ = try reader.metadata()
      for index in 0..<reader.tensorCount { _ = try reader.bytes(ofTensor: index, threads: 1) }
    } catch {
      return Count(cases: 1, refusedByReading: 1)
    }
    do throws(QCodecError) {
      if try Verifier(reader, threads: 1).verify().ok { return Count(cases: 1, accepted: 1) }
    } catch {
      return Count(cases: 1, refusedByVerifying: 1)
    }
    return Count(cases: 1, refusedByVerifying: 1)
  }
}

extension ForgeryCommand.Count {
  fileprivate mutating func add(_ other: Self) {
    cases += other.cases
    refusedByReading += other.refusedByReading
    refusedByVerifying += other.refusedByVerifying
    accepted += other.accepted
  }
}
