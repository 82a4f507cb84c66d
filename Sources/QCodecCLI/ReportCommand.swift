import ArgumentParser
import QCheckpoint
import QCodec
import QReport
import QVerify

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `qcodec report`: a page on what a checkpoint holds and how far it is off.
///
/// Of a file that does not verify the page says so, and the command fails as `verify` does.
struct ReportCommand: QuietableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Verify a checkpoint and write an HTML page of its sizes and errors.",
    discussion: """
      The page is one file that needs no network and no script. With --against every element is held against the \
      original, errors are measured rather than told as recorded, and the presets are encoded in memory from a sample \
      of it (at most 2,097,152 parameters) for comparison. The same file gives the same page.

      A file that fails to verify gets a page that says so; the exit status is that of verify.

      EXAMPLES:
        qcodec report optimizer.qckpt -o report.html
        qcodec report o.qckpt --against o.safetensors -o report.html
        qcodec report o.qckpt --against o.safetensors --front -o report.html
        qcodec report optimizer.qckpt -o - --title "run 12" > report.html
      """)

  @Argument(help: "The checkpoint; '-' is standard input.", completion: Completions.checkpoints)
  var file: String

  @Option(
    help: ArgumentHelp("The original: safetensors, an index of shards, .npy, .npz or .qckpt.", valueName: "original"),
    completion: Completions.documents)
  var against: String?

  @Option(
    name: .shortAndLong, help: "The page to write; '-' is standard output.", completion: .file(extensions: ["html"]))
  var output: String

  @Flag(help: "With --against: draw the best that plan finds at each size, from the same sample as the presets.")
  var front = false

  @Option(help: "The page's heading; the file's name without it.")
  var title: String?

  @OptionGroup var epsilon: EpsilonOptions

  @OptionGroup var bases: BaseOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if file == "-", against == "-" { throw ValidationError("standard input can be read once") }
    if front, against == nil { throw ValidationError("--front is found from the original: give it with --against") }
  }

  func run() throws {
    let bases = try bases.readers()
    let reader = try Inputs.checkpoint(file, bases: bases)
    let faults = ReadFaults()
    let document = try against.map { try Inputs.document($0, bases: bases) }
    let inputs = (document?.files ?? []).union(reader.files)
    try Inputs.refuseOverwriting(output, inputs: inputs)
    try Inputs.refuseTerminal(output)
    let original = against.flatMap { name in document?.noting(name, in: faults) }
    let page = try opened()
    let source = (0..<reader.tensorCount).reduce(0) { $0 + reader.tensor($1).sourceBytes }
    let verifier = Verifier(reader, epsilon: epsilon.eps, threads: threads.count)
    // Tensors are gone through once more for the figures.
    let progress = Progress(total: verifier.workBytes(against: original) + source)
    defer { progress.finish() }
    let (verdict, failures) = try verify(verifier, reader, original, faults: faults, progress: progress)
    var collector = FigureCollector(reader, original: original, epsilon: epsilon.eps, threads: threads.count)
    if front { collector.front = PlanFront(epsilon: epsilon.eps, threads: threads.count).points(of:) }
    let figures: CheckpointFigures
    do {
      figures = try collector.figures(name: name, verdict: verdict) { progress.advance($0) }
    } catch {
      throw Failure(error, file: faults.file ?? file)
    }
    progress.finish()
    try concerning(output) { try page.finish(ReportPage(figures, title: title)) }
    if failures.isEmpty, !quiet, output != "-" { Terminal.print("\(output.escapingControls): \(Self.size(output))") }
    for failure in failures.dropLast() { Terminal.error(failure.line) }
    if let last = failures.last { throw last }
  }

  /// What the file is called on the page: no folders, which say more than a page should.
  private var name: String {
    file == "-" ? "standard input" : file.split(separator: "/").last.map(String.init) ?? file
  }

  private func opened() throws -> PageFile {
    try Interruption.held {
      let page = try concerning(output) {
        output == "-" ? try PageFile(descriptor: STDOUT_FILENO) : try PageFile(path: output)
      }
      Interruption.removeWhenInterrupted(page.temporaryPath)
      return page
    }
  }

  /// Verifies as `verify` does; with what the command ends with after the page is written.
  private func verify(
    _ verifier: Verifier, _ reader: CheckpointReader, _ original: InputDocument?, faults: ReadFaults, progress: Progress
  ) throws -> (Verdict, [Failure]) {
    let report: VerificationReport
    switch try DamageList.verify(
      reader, by: verifier, against: original, file: file, faults: faults, progress: progress, threads: threads.count)
    {
    case .success(let own): report = own
    case .failure(let damage): return (.damaged(damage.lines), damage.failures)
    }
    let failure = report.firstViolation.map { first in
      Failure(Describe.violations(first, of: report.violations), file: file, status: .failed)
    }
    return (.verified(report, compared: original != nil), failure.map { [$0] } ?? [])
  }

  private static func size(_ path: String) -> String {
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return "written" }
    return ByteSize.text(UInt64(status.st_size))
  }
}
