import ArgumentParser
import CCampaign
import QCheckpoint
import QCodec

/// `qcodec-corpus allocations`: the largest amount of memory that was allocated at one time while a file was opened.
struct AllocationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "allocations",
    abstract: "Measure what opening files of any kind, listing, their metadata and verification allocate.",
    discussion:
      "One line a file: its bytes, and the peaks of opening with a list of tensors, of its metadata, of verifying "
      + "and of salvage, in bytes; '-' where there is nothing to measure. Files that are refused are measured like others."
  )

  @Argument(help: "The files.")
  var files: [String]

  func run() throws {
    guard campaign_counts_allocations() else {
      throw ValidationError("allocations are not counted on this system or under a sanitizer")
    }
    AllocationProbe.warmUp()
    for path in files {
      let probe = try AllocationProbe(path: path)
      let peaks = [probe.opening, probe.metadata, probe.verifying, probe.salvage].map(text).joined(separator: " ")
      print("\(probe.byteCount) \(peaks) \(path)")
    }
  }

  private func text(_ peak: Int?) -> String { peak.map { "\($0)" } ?? "-" }
}
