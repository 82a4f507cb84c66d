import ArgumentParser
import QCheckpoint
import QCodec

/// `qcodec bench`: how fast this machine encodes and decodes, beside how fast it copies memory.
struct BenchCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure encoding and decoding beside memcpy, on this machine.",
    discussion: """
      Memory is there before the first run; speeds are bytes of float32 a second, 1e9 to the GB, medians of the runs. \
      Encoding is measured with and without its statistics. memcpy runs between the rows, on as many threads.

      Without FILE the moments are made up: seeded and heavy-tailed. With it they are those of its Adam pairs, \
      repeated where they are fewer than --elements, and checkpoints of them are written, read and verified in memory under \
      every lossless stage, too.

      EXAMPLES:
        qcodec bench
        qcodec bench optimizer.safetensors --quick
        qcodec bench optimizer.safetensors --kernels avx2,avx512 --json
        qcodec bench --threads 2 --checkpoint /dev/shm --size 1073741824
        qcodec bench --quick --open /dev/shm
      """)

  @Argument(help: "A file of moments, as encode takes it; '-' is standard input.", completion: Completions.documents)
  var file: String?

  @Option(
    help: ArgumentHelp(
      "Kernel levels, by commas, or all of this machine's; the scalar one takes minutes.", valueName: "level,…"),
    completion: Completions.kernels)
  var kernels: String?

  @Option(help: "Threads to use for copying, encoding and decoding.")
  var threads = 1

  @Option(help: "Elements of each moment, a multiple of 4096.")
  var elements: Int?

  @Option(help: "Runs of which the median is taken.")
  var runs: Int?

  @Flag(help: "Few elements and runs: 2^18 and 3 unless they are given.")
  var quick = false

  @Option(
    help: ArgumentHelp("Save and load a checkpoint in this folder, too.", valueName: "folder"), completion: .directory)
  var checkpoint: String?

  @Option(help: ArgumentHelp("Bytes of the moments that are saved.", valueName: "bytes"))
  var size = 1 << 30

  @Option(
    help: ArgumentHelp(
      "Open checkpoints of 100,000 and 1,000,000 tensors in this folder, too; of a hundredth with --quick.",
      valueName: "folder"), completion: .directory)
  var open: String?

  @Flag(help: "Write, read and verify checkpoints in memory without FILE, too.")
  var stages = false

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Show no progress.")
  var quiet = false

  func validate() throws {
    if !(1...1024).contains(threads) { throw ValidationError("--threads is to be 1 to 1024") }
    if let elements, !(1 << 12...1 << 32).contains(elements) || elements % BenchMoments.columns != 0 {
      throw ValidationError("--elements is to be a multiple of 4096, up to 2^32")
    }
    if let runs, !(1...1000).contains(runs) { throw ValidationError("--runs is to be 1 to 1000") }
    if !(1 << 18...1 << 40).contains(size) { throw ValidationError("--size is to be 2^18 to 2^40") }
  }

  func run() throws {
    let levels = try levels()
    for folder in [checkpoint, open] { if let folder { try BenchCheckpoint.check(folder) } }
    let (elements, runs) = (elements ?? (quick ? 1 << 18 : 1 << 24), runs ?? (quick ? 3 : 7))
    let measuresStages = stages || file != nil
    let steps = levels.count * BenchScheme.all.count + (measuresStages ? BenchStages.count : 0)
    let progress = Progress(total: UInt64(steps), unit: .things("measurements"))
    defer { progress.finish() }
    let report = try concerning(file ?? "made-up moments") {
      let moments =
        try file.map { try BenchMoments.file($0, elements: elements) }
        ?? BenchMoments.synthetic(elements: elements, threads: availableThreads())
      let rows = try BenchRows(moments, levels: levels, threads: threads, runs: runs) { progress.advance(1) }
      let staged =
        try measuresStages ? BenchStages(moments, threads: threads).run(runs: runs) { progress.advance(1) } : nil
      let saved = try checkpoint.map { folder in
        try BenchCheckpoint(moments, size: size, folder: folder, threads: threads).run(runs: runs)
      }
      let opened = try open.map { folder in
        let tensors = quick ? [1_000, 10_000] : [100_000, 1_000_000]
        return try BenchOpen(folder: folder).run(tensors: tensors, runs: runs)
      }
      return BenchReport(
        elements: elements, levels: levels, threads: threads, measured: rows, staged: staged, checkpoint: saved,
        opened: opened)
    }
    progress.finish()
    if json { return Terminal.print(report.json.serialized(pretty: true)) }
    for line in report.lines(width: Terminal.width) { Terminal.print(line) }
  }

  private func levels() throws -> [KernelLevel] {
    guard let kernels else { return [.selected] }
    if kernels == "all" { return KernelLevel.allCases.filter(\.isSupported) }
    return try kernels.split(separator: ",", omittingEmptySubsequences: false).map { name in
      guard let level = KernelLevel(name: String(name)) else {
        let names = KernelLevel.allCases.map(\.name).joined(separator: ", ")
        throw Failure("there are no kernels '\(name)'; levels are \(names)", status: .usage)
      }
      guard level.isSupported else { throw Failure("this machine does not run '\(name)' kernels", status: .usage) }
      return level
    }
  }
}
